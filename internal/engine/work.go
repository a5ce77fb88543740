//go:build linux

package engine

import (
	"context"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/ingress"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// handOver puts in force what the user lends beside the desk itself:
// credentials, and ports of the host.
func (v *visit) handOver(ctx context.Context, g *gate.Gate) error {
	if err := shutMemory(); err != nil { // it knows the model's key and the log's, too
		return err
	}
	if err := v.lend(ctx); err != nil {
		return err
	}
	v.front = ingress.New(g, ingress.Config{Run: v.id, Agent: v.profile.Name, Ports: v.ports})
	return v.front.Open(ctx)
}

// work starts the agent behind its walls, waits for it to end and takes its
// change.
func (v *visit) work(ctx context.Context, g *gate.Gate, grant gate.Grant, exec carrel.Action, spec sandbox.Spec, door *egress.Door) (sandbox.Exit, error) {
	life, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	v.posed.starts()
	desk, err := v.tier.Start(life, grant, exec, spec)
	if err != nil {
		return sandbox.Exit{Code: 125}, err
	}
	v.began = true
	secrets := sync.OnceValue(v.visibleSecrets)
	go secrets() // while the agent works
	reaped := later(v.e.reap)
	defer v.gather()()
	stop := v.passSignals(ctx, desk)
	defer stop()
	defer v.warmLater()()
	defer v.watchRules(ctx, g, door)()
	quiet := v.watchQuiet(ctx, g)
	exit, err := desk.Wait()
	v.endQuestions()
	quiet()
	v.screen.close()
	v.result.Warnings = append(v.result.Warnings, secrets()...)
	if err := reaped(); err != nil {
		v.result.Warnings = append(v.result.Warnings, err.Error())
	}
	v.result.Enforcement = append(desk.Enforcement(), door.Enforcement()...)
	return exit, err
}

// warmLater compiles the policy for the files of the change while the agent
// works, unless the agent is gone before that is worth it.
func (v *visit) warmLater() (stop func() bool) {
	return time.AfterFunc(startTime, func() { v.policy.Warm() }).Stop
}
