//go:build linux

package engine

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// addRepository adds what the repository's configuration at the base commit
// narrows, and what it grants if the user has accepted that.
func (e *Engine) addRepository(ctx context.Context, s *settings, ws *workspace.Workspace, repo *git.Repo) error {
	file, err := e.repositoryConfig(ctx, repo)
	if err != nil || file == nil {
		return err
	}
	s.repo = file
	grants := config.Grants(file)
	if len(grants) > 0 {
		id, err := repositoryID(ctx, ws, repo)
		if err != nil {
			return err
		}
		if s.wishes, err = e.trust().Fresh(id, grants); err != nil {
			return err
		}
	}
	s.Effective = config.Merge(s.org, s.user, file, len(s.wishes) == 0)
	return nil
}

func (e *Engine) trust() *config.Trust { return config.OpenTrust(e.state("trust.json")) }

// repositoryConfig reads .carrel/config.yaml as the base commit has it. That a
// commit has none is remembered: a commit's name covers its content, and most
// have none, so that most runs need no git.
func (e *Engine) repositoryConfig(ctx context.Context, repo *git.Repo) (*config.File, error) {
	if repo == nil || repo.Head == "" {
		return nil, nil
	}
	none := e.state("plain-commits", repo.Head)
	if _, err := os.Lstat(none); err == nil {
		return nil, nil
	}
	raw, err := repo.ReadFile(ctx, repo.Head, config.RepositoryPath)
	if errors.Is(err, fs.ErrNotExist) {
		_ = os.MkdirAll(filepath.Dir(none), 0o700) // what is not remembered is looked up again
		_ = os.WriteFile(none, nil, 0o600)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s of the base commit: %w", config.RepositoryPath, err)
	}
	return config.Parse(config.Source{Layer: config.Repository, Path: config.RepositoryPath}, raw)
}

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

// roots are the system's certificates and those the configuration adds; nil
// means the system's alone.
func (s *settings) roots() (*x509.CertPool, error) {
	if len(s.ExtraRoots) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificates: %w", err)
	}
	for _, v := range s.ExtraRoots {
		pem, err := os.ReadFile(v.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: extra_roots: %w", v.Origin, err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: extra_roots: %s has no PEM certificate", v.Origin, v.Value)
		}
	}
	return pool, nil
}
