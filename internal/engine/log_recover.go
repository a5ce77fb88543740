package engine

import (
	"context"
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// LogRecover makes a log usable again that was restored from a backup. It is
// the one effect that comes before its record: until it has happened the log
// takes none. It is decided before; the log's first record says that it was
// recovered, and intent and result follow at once.
func (e *Records) LogRecover(ctx context.Context, accept bool) error {
	a := carrel.Action{Operation: carrel.OpPolicy, Subject: "log:recover", Reason: "what is there is the log"}
	if accept {
		a.Subject, a.Reason = "log:accept-rollback", "records that are missing are missed"
	}
	if err := e.mayRecover(ctx, a); err != nil {
		return err
	}
	r, err := audit.Recover(ctx, e.host.logOptions(), accept)
	if err != nil {
		return err
	}
	err = e.operate(ctx, a, func(context.Context, *audit.Log) (carrel.Outcome, error) {
		return carrel.Outcome{
			Facts:  map[string]carrel.Text{"accepted": carrel.Text(r.Accepted)},
			Counts: map[string]int64{"size": r.Size, "known": r.Known, "bytes_cut": r.Cut},
		}, nil
	})
	if err != nil {
		return fmt.Errorf("the log was recovered and says so, but recording who decided it failed: %w", err)
	}
	if r.Accepted == "" && r.Cut == 0 {
		fmt.Fprintf(e.host.Stdout, "nothing had to be recovered: the log has %s\n", plural(int(r.Size), "record"))
		return nil
	}
	fmt.Fprintf(e.host.Stdout, "the log has %s; the second place knew %d; %d bytes were no records\n", plural(int(r.Size), "record"), r.Known, r.Cut)
	if r.Accepted != "" {
		fmt.Fprintf(e.host.Stdout, "  accepted and recorded: %s\n", terminal.Escape(r.Accepted))
	}
	return nil
}

// mayRecover asks the policy, of which an ask is a no: an answer could not be
// recorded.
func (e *Records) mayRecover(ctx context.Context, a carrel.Action) error {
	engine, err := e.hookPolicy(ctx, "claude", audit.NewRedactor(e.state("keys")))
	if err != nil {
		return err
	}
	defer engine.Close()
	if d := engine.Decide(ctx, a); d.Verdict != carrel.Allow {
		return &hintError{fmt.Errorf("%s: %w: %s (%s); the log cannot record that before it is recovered", a.Subject, gate.ErrDenied, d.Reason, firstRule(d)),
			"whoever writes the organisation's policy can allow it, or restore the whole log"}
	}
	return nil
}
