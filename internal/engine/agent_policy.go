package engine

import (
	"context"

	"github.com/carrel-dev/carrel/internal/hook"
)

// AgentPolicy prints what a client's policyHelper must: the managed settings,
// if Carrel works. An error keeps the client from starting.
func AgentPolicy(ctx context.Context, host Host, client string) error {
	if client != hook.ClaudeCode {
		return misused("there is no policy for %q; known is %s", client, hook.ClaudeCode)
	}
	e := &Records{host}
	r, err := e.openRoad(ctx)
	if err != nil {
		return err
	}
	if err := r.close(ctx); err != nil {
		return err
	}
	text, err := hook.PolicyHelper(host.Self)
	if err != nil {
		return err
	}
	_, err = host.Stdout.Write(text)
	return err
}
