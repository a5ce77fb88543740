package engine

import (
	"bytes"
	"context"
	"slices"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// PolicyInputsOptions are the flags of `policy inputs`.
type PolicyInputsOptions struct {
	Runs       int // the last so many; 0: all
	Operations []string
	JSON       bool // one object on each line, instead of YAML documents
}

// PolicyInputs prints recorded actions as policies saw them, each once, for
// programs that evaluate the same rules: a stream of YAML documents in JSON.
func (e *Records) PolicyInputs(ctx context.Context, opts PolicyInputsOptions) error {
	if err := checkLast(opts.Runs); err != nil {
		return err
	}
	past, _, err := e.past(ctx, opts.Runs)
	if err != nil {
		return err
	}
	for _, op := range opts.Operations {
		if !slices.Contains(slices.Concat(carrel.AgentOperations, carrel.OperatorOperations), carrel.Operation(op)) {
			return misused("--operation %q is not known", op)
		}
	}
	var out bytes.Buffer
	seen := map[string]bool{} // a refused file is in the log and in its change
	for _, p := range past {
		if len(opts.Operations) > 0 && !slices.Contains(opts.Operations, string(p.action.Operation)) {
			continue
		}
		input, err := policy.InputOf(p.action)
		if err != nil {
			continue // it was denied unseen, and no policy could say anything of it
		}
		if seen[string(input)] {
			continue
		}
		seen[string(input)] = true
		if !opts.JSON {
			out.WriteString("---\n")
		}
		out.Write(append(terminal.EscapeJSON(input), '\n'))
	}
	_, err = e.host.Stdout.Write(out.Bytes())
	return err
}
