//go:build linux

package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel/internal/workspace"
)

// Pending lists the actions that wait for an answer, and the changes of this
// workspace that do.
func (e *Engine) Pending(ctx context.Context, asJSON bool) error {
	if err := e.PendingActions(asJSON); err != nil {
		return err
	}
	ws, err := e.workspaceAt(ctx, "")
	if err != nil {
		return err
	}
	all, err := ws.Changes()
	if err != nil {
		return err
	}
	for _, entry := range all {
		if entry.State != workspace.ChangePending {
			continue
		}
		if asJSON {
			err = e.printLine(entry)
		} else {
			_, err = fmt.Fprintf(e.host.Stdout, "%s  digest %s  taken %s  by %s\n", entry.ID, entry.Digest.Short(), entry.Taken.Local().Format(time.DateTime), entry.Run)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
