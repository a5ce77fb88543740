//go:build linux

package engine

import (
	"context"
	"errors"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/credential"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// doorConfig is the way out of this run.
func (v *visit) doorConfig(tools *gate.Gate) egress.Config {
	c := egress.Config{Run: v.id, Agent: v.profile.Name, Rules: v.rules, OnBreach: v.breach}
	if v.profile.Hooks != "" {
		c.Tools = newToolGate(v, tools)
	}
	c.Proxy, c.NoProxy = v.settings.upstreamProxy(v.e.host)
	c.Roots, c.Authority, c.Upload = v.roots, v.authority, v.upload
	if len(v.lent.chosen) > 0 {
		c.Secrets = v.leases
	}
	if v.model != nil {
		c.KeyHeader = v.model.header
		if v.model.source != nil {
			c.Conceal = credential.Conceal
			c.Key = func(ctx context.Context, g gate.Grant, a carrel.Action, again bool) (string, error) {
				key, err := v.model.source.Get(ctx, g, a, again)
				return key.Reveal(), err
			}
		}
	}
	return c
}

// breach tells of a connection that did not keep to what was allowed.
func (v *visit) breach(b egress.Breach) {
	v.denials.add(Denial{
		Operation: b.Action.Operation, Target: target(b.Action), Verdict: carrel.Deny,
		Rule: b.Rule, Reason: b.Reason, NextSteps: b.Next, Action: b.Action.ID, Count: 1,
	})
}

// spec is what the tier builds.
func (v *visit) spec(door *egress.Door, commands *commands) sandbox.Spec {
	h := v.e.host
	s := sandbox.Spec{
		Run: v.id, Mounts: v.plan.Mounts, Program: v.plan.Program, Args: v.plan.Args, Env: v.plan.Env, Dir: v.plan.Dir,
		Limits: v.limits, DiskPaths: append(v.seat.DiskPaths(), v.plan.MakeDirs...),
		RuntimeDir: v.runDir, Stdin: h.Stdin, Stdout: h.Stdout, Stderr: h.Stderr,
		Attach: func(ctx context.Context, s sandbox.Sockets) error {
			return errors.Join(door.Attach(ctx, egress.Sockets{TCP: s.TCP, DNS: s.DNS, DNSTCP: s.DNSTCP, Route: s.Route, Netfilter: s.Netfilter, Listen: s.Listen}),
				v.front.Attach(s.Dial))
		},
	}
	if commands != nil {
		s.Executed, s.MustAsk = commands.executed, commands.must
	}
	if v.screen != nil {
		s.Stdout, s.Stderr = v.screen.out, v.screen.err
	}
	if v.interactive() {
		s.Terminal = h.Stdin
		s.Relay = func(ctx context.Context, p sandbox.Pty) error {
			return terminal.Relay(ctx, terminal.Options{Terminal: h.Stdin, Master: p.Master, Stopped: v.posed.join(ctx, p.Stopped), Stop: v.posed.stop, Continue: v.posed.resume(p.Continue)})
		}
	}
	return s
}
