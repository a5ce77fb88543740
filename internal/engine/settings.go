//go:build linux

package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/workspace"
)

func (e *Engine) trust() *config.Trust { return config.OpenTrust(e.state("trust.json")) }

func repositoryID(ctx context.Context, ws *workspace.Workspace, repo *git.Repo) (config.RepositoryID, error) {
	root, err := repo.RootCommit(ctx)
	if err != nil {
		return config.RepositoryID{}, fmt.Errorf("finding the repository's first commit: %w", err)
	}
	return config.RepositoryID{Workspace: ws.Root(), Root: root}, nil
}

// rules are the grants of the configuration, the profile and the flags.
func (s *settings) rules(opts RunOptions, profileRules []egress.Rule, model string) (egress.Grants, error) {
	g := egress.Grants{Rules: profileRules, Model: model}
	for _, v := range s.Egress {
		r := egress.Rule{Host: v.Value.Host, Ports: v.Value.Ports, Protocol: carrel.Protocol(v.Value.Protocol), Addresses: v.Value.Addresses}
		r.Methods, r.Paths, r.WebSocket, r.Upload = v.Value.Methods, v.Value.Paths, v.Value.WebSocket, int64(v.Value.Upload)
		if v.Value.ECH {
			r.ECH = egress.ECHAllow
		}
		if _, err := egress.NewRules(egress.Grants{Rules: []egress.Rule{r}}); err != nil {
			return g, fmt.Errorf("%s: %w", v.Origin, err)
		}
		g.Rules = append(g.Rules, r)
	}
	for _, a := range opts.Allow {
		r, err := egress.ParseAllow(a)
		if err != nil {
			return g, fmt.Errorf("--allow %s: %w", a, err)
		}
		g.Rules = append(g.Rules, r)
	}
	for _, v := range s.Services {
		service, err := egress.ParseService(v.Value.Name + "=" + v.Value.Address)
		if err != nil {
			return g, fmt.Errorf("%s: %w", v.Origin, err)
		}
		g.Services = append(g.Services, service)
	}
	for _, flag := range opts.Services {
		service, err := egress.ParseService(flag)
		if err != nil {
			return g, fmt.Errorf("--host-service %s: %w", flag, err)
		}
		g.Services = append(g.Services, service)
	}
	return g, nil
}

// limits joins the configuration's with the flag's; the tighter one counts.
// Those on the network are the second value: how many bytes may be sent.
func (s *settings) limits(opts RunOptions) (sandbox.Limits, int64, error) {
	l := s.Limits
	if opts.Limit != "" {
		asked, err := config.ParseLimits(opts.Limit, config.Origin{Layer: config.User, File: "--limit"})
		if err != nil {
			return sandbox.Limits{}, 0, fmt.Errorf("--limit: %w", err)
		}
		l = l.Lower(asked)
	}
	return sandbox.Limits{
		Memory: int64(l.Memory.Value), Pids: l.Pids.Value, Disk: int64(l.Disk.Value),
		Wall: time.Duration(l.Wall.Value), BestEffort: l.BestEffort.Value || opts.LimitBestEffort,
	}, int64(l.Upload.Value), nil
}
