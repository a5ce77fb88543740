package engine

import (
	"context"
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
)

// wholeRun refuses where the log does not show how a run began any more: what
// is derived from its records would rest on some of them.
func (e *Records) wholeRun(ctx context.Context, run carrel.RunID) error {
	reader := audit.OpenReader(e.state("log"))
	minimum, err := reader.Minimum()
	if err != nil || minimum == 0 {
		return err
	}
	for entry, err := range reader.Run(ctx, run) {
		if err != nil {
			return err
		}
		if entry.Record.RunSeq == 1 {
			return nil
		}
		if entry.Record.RunSeq > 1 {
			break
		}
	}
	return &hintError{fmt.Errorf("records of the beginning of %s are %w: the log shows none before %d", run, audit.ErrRetained, minimum),
		"carrel log retain 0 shows every record again; a higher INDEX hides them again"}
}
