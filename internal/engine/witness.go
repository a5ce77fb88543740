package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/witness"
	"github.com/carrel-dev/carrel/verify"
)

// refuseUnwitnessed is what the configuration says to publish nothing that
// lacks cosignatures.
const refuseUnwitnessed = "refuse"

// witnesses are who cosigns checkpoints, and what happens when too few do.
type witnesses struct {
	all    []witness.Witness
	keys   []verify.Witness
	quorum verify.WitnessPolicy
	refuse bool
	where  string // the configuration says so
}

// witnesses returns the configured ones; nil: there are none.
func (s *settings) witnesses() (*witnesses, error) {
	set := s.Witnesses
	if !set.IsSet() {
		return nil, nil
	}
	w := &witnesses{refuse: set.Value.Missing == refuseUnwitnessed, where: set.Origin.String()}
	for _, one := range set.Value.List {
		key, err := verify.ParseWitness(one.Key)
		if err != nil {
			return nil, fmt.Errorf("%s: witnesses: %w", w.where, err)
		}
		w.all, w.keys = append(w.all, witness.Witness{Witness: key, URL: one.URL}), append(w.keys, key)
	}
	need := set.Value.Quorum
	if need == 0 {
		need = len(w.all)
	}
	var err error
	if w.quorum, err = verify.Quorum(need, w.keys...); err != nil {
		return nil, fmt.Errorf("%s: witnesses: %w", w.where, err)
	}
	return w, nil
}

// unwitnessed says that a checkpoint lacks cosignatures, or that a witness
// knows another past of the log.
type unwitnessed struct {
	why    string
	alarm  bool
	refuse bool // the configuration says to refuse then
	where  string
}

// Error says what is missing.
func (u *unwitnessed) Error() string { return u.why }

// Hint is the next step.
func (u *unwitnessed) Hint() string {
	if u.alarm {
		return "compare the log with a copy of its checkpoints (carrel log verify), find out who could write to it, and keep a copy of it as it is; if it was restored from a backup, ask the witness's operator"
	}
	return "carrel log checkpoint asks the witnesses again; which they are, and whether to go on without, is said at " + u.where
}

// refused is the error where nothing may go on without the witnesses; nil where
// the configuration says to go on.
func (u *unwitnessed) refused() error {
	if u == nil || !u.refuse {
		return nil
	}
	return fmt.Errorf("refused by witnesses.missing: refuse (%s): %w", u.where, u)
}

// checkpoint signs where the log stands and has the configured witnesses
// cosign it, which is an act like any other. It returns the checkpoint with
// what they signed. That they are too few is the second value: whether that
// matters is for the caller to say.
func (e *Records) checkpoint(ctx context.Context, g *gate.Gate, log *audit.Log) ([]byte, *unwitnessed, error) {
	s, err := e.configured()
	if err != nil {
		return nil, nil, err
	}
	return e.checkpointBy(ctx, s, g, log)
}

// checkpointBy is checkpoint for whoever has read the configuration.
func (e *Records) checkpointBy(ctx context.Context, s *settings, g *gate.Gate, log *audit.Log) ([]byte, *unwitnessed, error) {
	c, err := e.cosigning(s, log)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		signed, err := log.Checkpoint(ctx)
		return signed, nil, err
	}
	return c.act(ctx, g)
}

// cosigning prepares an act of having a checkpoint cosigned; nil: nobody is
// there to ask.
func (e *Records) cosigning(s *settings, log *audit.Log) (*cosigning, error) {
	w, err := s.witnesses()
	if err != nil || w == nil {
		return nil, err
	}
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	proxy, noProxy := s.upstreamProxy(e.host)
	return &cosigning{e: e, log: log, who: w, stand: log.Checkpoint, client: witness.Client{HTTP: witness.NewHTTP(proxy, noProxy, roots)}}, nil
}

// tellUnwitnessed says that witnesses are missing where that stops nothing.
func (e *Records) tellUnwitnessed(u *unwitnessed) {
	if u != nil {
		fmt.Fprintf(e.host.Stderr, "carrel: %s\n  next: %s\n", terminal.Escape(u.Error()), terminal.Escape(u.Hint()))
	}
}

// checkpointAlone is checkpoint for a verb that does nothing else. Without
// witnesses it needs no policy.
func (e *Records) checkpointAlone(ctx context.Context) (signed []byte, lacking *unwitnessed, err error) {
	s, err := e.configured()
	if err != nil {
		return nil, nil, err
	}
	if !s.Witnesses.IsSet() {
		err = e.withLog(ctx, func(log *audit.Log) (err error) {
			signed, err = log.Checkpoint(ctx)
			return err
		})
		return signed, nil, err
	}
	r, err := e.openRoad(ctx)
	if err != nil {
		return nil, nil, err
	}
	signed, lacking, err = e.checkpointBy(ctx, s, r.gate, r.log)
	return signed, lacking, errors.Join(err, r.close(ctx))
}

// mustBeWitnessed is refused, and tells where that is nil.
func (e *Records) mustBeWitnessed(u *unwitnessed) error {
	err := u.refused()
	if err == nil {
		e.tellUnwitnessed(u)
	}
	return err
}

// cosignatures are those of the configured witnesses on the newest cosigned
// checkpoint of the log.
func (e *Records) cosignatures(key string) (verify.Checkpoint, []verify.Cosignature, error) {
	s, err := e.configured()
	if err != nil {
		return verify.Checkpoint{}, nil, err
	}
	w, err := s.witnesses()
	if err != nil || w == nil {
		return verify.Checkpoint{}, nil, err
	}
	_, signed, err := audit.OpenReader(e.state("log")).Cosigned(key)
	if errors.Is(err, fs.ErrNotExist) {
		return verify.Checkpoint{}, []verify.Cosignature{}, nil
	}
	if err != nil {
		return verify.Checkpoint{}, nil, err
	}
	return verify.Cosignatures(signed, key, w.keys)
}
