package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
)

// withLog opens the log for one act on it.
func (e *Records) withLog(ctx context.Context, act func(*audit.Log) error) error {
	log, err := audit.Open(ctx, e.host.logOptions())
	if err != nil {
		return err
	}
	return errors.Join(act(log), log.Close())
}

// LogCheckpoint signs how far the log has come, publishes its tiles up to
// there, and prints the checkpoint.
func (e *Records) LogCheckpoint(ctx context.Context, asJSON bool) error {
	if _, err := e.logKey(); err != nil {
		return err
	}
	signed, lacking, err := e.checkpointAlone(ctx)
	if err != nil {
		return err
	}
	key, err := e.logKey()
	if err != nil {
		return err
	}
	c, err := audit.PublishTiles(ctx, e.state("log"), key)
	if err != nil {
		return err
	}
	_, by, err := e.cosignatures(key)
	if err != nil {
		return err
	}
	if asJSON {
		err = e.printJSON(map[string]any{
			"origin": c.Origin, "size": c.Size, "root": base64.StdEncoding.EncodeToString(c.Root[:]), "key": key,
			"checkpoint": string(signed), "tiles": e.state("log", audit.TilesDir), "cosignatures": listed(by),
		})
	} else {
		_, err = e.host.Stdout.Write(signed)
	}
	return errors.Join(err, e.mustBeWitnessed(lacking))
}

// LogRotateKey hands the log to a new key. The checkpoint that does it is the
// last that witnesses take from the old one: they are asked to cosign it.
func (e *Records) LogRotateKey(ctx context.Context, asJSON bool) error {
	old, err := e.logKey()
	if err != nil {
		return err
	}
	s, err := e.configured()
	if err != nil {
		return err
	}
	r, err := e.openRoad(ctx)
	if err != nil {
		return err
	}
	fresh, err := e.rotateKey(ctx, s, r, old)
	if err = errors.Join(err, r.close(ctx)); err != nil {
		return err
	}
	if _, err := audit.PublishTiles(ctx, e.state("log"), fresh); err != nil {
		return err
	}
	if asJSON {
		return e.printJSON(map[string]any{"old": old, "key": fresh})
	}
	fmt.Fprintf(e.host.Stdout, "old key  %s\nnew key  %s\nWho knows the old key finds the new one by the succession proofs in the log's directory.\n", old, fresh)
	if s.Witnesses.IsSet() {
		fmt.Fprintln(e.host.Stdout, "Give the new log.vkey to the operators of your witnesses (carrel identity export): until they know it they cosign nothing more.")
	}
	return nil
}

func (e *Records) rotateKey(ctx context.Context, s *settings, r *road, old string) (fresh string, err error) {
	var signed []byte
	a := carrel.Action{Operation: carrel.OpRevoke, Subject: "log key", SubjectDigest: carrel.DigestBytes([]byte(old)), Reason: "rotated"}
	err = operate(ctx, r.gate, a, func(ctx context.Context) (out carrel.Outcome, err error) {
		fresh, signed, err = r.log.RotateKey(ctx)
		return carrel.Outcome{Facts: map[string]carrel.Text{"key": carrel.Text(fresh)}}, err
	})
	if err != nil {
		return "", err
	}
	c, err := e.cosigning(s, r.log)
	if c == nil || err != nil {
		return fresh, err
	}
	c.stand = func(context.Context) ([]byte, error) { return signed, nil }
	_, lacking, err := c.act(ctx, r.gate)
	if lacking != nil { // the key is replaced, and a stolen one must be, whoever is down
		lacking.why = "the key is replaced, and the hand-over is not witnessed: " + lacking.why
		e.tellUnwitnessed(lacking)
	}
	return fresh, err
}

// LogRetain makes the log refuse reads of records before an index.
func (e *Records) LogRetain(ctx context.Context, from int64) error {
	if _, err := e.logKey(); err != nil {
		return err
	}
	a := carrel.Action{Operation: carrel.OpPolicy, Subject: fmt.Sprintf("log:retain:%d", from), Reason: "records before it are no longer shown"}
	err := e.operate(ctx, a, func(ctx context.Context, log *audit.Log) (carrel.Outcome, error) {
		return carrel.Outcome{}, log.Retain(ctx, from)
	})
	if err != nil {
		return err
	}
	if from == 0 {
		_, err = fmt.Fprintln(e.host.Stdout, "every record is shown")
		return err
	}
	_, err = fmt.Fprintf(e.host.Stdout, "records before %d are no longer shown; the log can still be checked whole\n", from)
	return err
}
