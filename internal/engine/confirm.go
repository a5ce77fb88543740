package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
)

// confirm looks an approval up in the log: a file in the answers' directory
// is not enough.
func (e *Records) confirm(p carrel.Approval) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var asked []carrel.ActionID // approvals of this action that may have been stored
	reader := audit.OpenReader(e.state("log"))
	records := reader.Run(ctx, p.Run)
	if p.Run == "" { // of a client's hook: the index knows no such run
		records = reader.From(ctx, 0)
	}
	for entry, err := range records {
		if err != nil {
			return fmt.Errorf("looking the approval up: %w", err)
		}
		r := entry.Record
		switch {
		case r.Action == nil || r.Action.Operation != carrel.OpApprove:
		case r.Kind == carrel.KindIntent && r.Action.SubjectDigest.Equal(p.Action):
			asked = append(asked, r.Action.ID)
		case r.Kind == carrel.KindResult && r.Outcome.Status == carrel.OutcomeDone && slices.Contains(asked, r.Action.ID):
			return nil
		}
	}
	return fmt.Errorf("the log has no approval of %s; approve again", p.Action.Short())
}
