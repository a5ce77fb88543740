package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/witness"
	"github.com/carrel-dev/carrel/verify"
)

// witnessWait bounds how long a checkpoint waits for its witnesses, all
// together.
const witnessWait = 5 * time.Second

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
	w, err := s.witnesses()
	if err != nil {
		return nil, nil, err
	}
	if w == nil {
		signed, err := log.Checkpoint(ctx)
		return signed, nil, err
	}
	roots, err := s.roots()
	if err != nil {
		return nil, nil, err
	}
	proxy, noProxy := s.upstreamProxy(e.host)
	c := &cosigning{e: e, log: log, who: w, client: witness.Client{HTTP: witness.NewHTTP(proxy, noProxy, roots)}}
	return c.act(ctx, g)
}

// cosigning is one act of having a checkpoint cosigned.
type cosigning struct {
	e      *Records
	log    *audit.Log
	who    *witnesses
	client witness.Client

	key    string
	signed []byte
	at     verify.Checkpoint
}

func (c *cosigning) act(ctx context.Context, g *gate.Gate) ([]byte, *unwitnessed, error) {
	var names, urls []string
	for _, w := range c.who.all {
		names, urls = append(names, w.Name()), append(urls, w.URL)
	}
	a := carrel.Action{ID: carrel.NewActionID(), Operation: carrel.OpPolicy, Subject: "log:witness:" + strings.Join(names, ","),
		Reason: carrel.Text("a checkpoint of the log goes to " + strings.Join(urls, ", "))}
	var lacking *unwitnessed
	_, err := g.Do(ctx, a, func(ctx context.Context, grant gate.Grant) (out carrel.Outcome, err error) {
		out, lacking, err = c.effect(ctx, grant, a)
		return out, err
	})
	var refusal *gate.Refusal
	if errors.As(err, &refusal) { // nothing was sent
		lacking = c.lacks(false, "policy does not let the log's checkpoints go to witnesses: "+refusal.Error())
		c.signed, err = c.log.Checkpoint(ctx)
	}
	return c.signed, lacking, err
}

// effect asks, and again with a later checkpoint where another process of this
// user was faster: what a witness knows, and this log does not have even then,
// is another past.
func (c *cosigning) effect(ctx context.Context, g gate.Grant, a carrel.Action) (carrel.Outcome, *unwitnessed, error) {
	ctx, cancel := context.WithTimeout(ctx, witnessWait)
	defer cancel()
	var answers []witness.Answer
	for range maxOvertaken {
		if err := c.sign(context.WithoutCancel(ctx)); err != nil {
			return carrel.Outcome{}, nil, err
		}
		var err error
		if answers, err = c.client.Ask(ctx, g, a, c.who.all, c.request()); err != nil {
			return carrel.Outcome{}, nil, err
		}
		if !c.overtaken(ctx, answers) {
			break
		}
	}
	return c.take(context.WithoutCancel(ctx), answers)
}

// maxOvertaken bounds how often a checkpoint is signed again because another
// process had a later one cosigned meanwhile.
const maxOvertaken = 3

// overtaken reports whether a witness knows more than it was sent, and the log
// has that much by now.
func (c *cosigning) overtaken(ctx context.Context, answers []witness.Answer) bool {
	var ahead int64
	for _, n := range answers {
		ahead = max(ahead, n.Ahead)
	}
	if ahead == 0 || ctx.Err() != nil {
		return false
	}
	size, err := audit.OpenReader(c.e.state("log")).Size(ctx)
	return err == nil && size >= ahead
}

// sign signs where the log stands.
func (c *cosigning) sign(ctx context.Context) (err error) {
	if c.signed, err = c.log.Checkpoint(ctx); err != nil {
		return err
	}
	if c.key, err = c.e.logKey(); err != nil {
		return err
	}
	c.at, err = audit.OpenCheckpoint(c.signed, c.key)
	return err
}

func (c *cosigning) request() witness.Request {
	reader := audit.OpenReader(c.e.state("log"))
	return witness.Request{
		Signed: c.signed, Size: c.at.Size, Text: c.at.Text(),
		Prove: func(old int64) ([]tlog.Hash, error) { return reader.ProveTree(c.at, old) },
		Known: c.known(reader),
	}
}

// known tells up to where each witness has cosigned, by the newest cosigned
// checkpoint that was kept.
func (c *cosigning) known(reader *audit.Reader) func(verify.Witness) int64 {
	_, signed, err := reader.Cosigned(c.key)
	if err != nil {
		return nil
	}
	at, by, err := verify.Cosignatures(signed, c.key, c.who.keys)
	if err != nil {
		return nil
	}
	return func(w verify.Witness) int64 {
		if slices.ContainsFunc(by, func(s verify.Cosignature) bool { return s.Witness == w.Name() && s.Hash == w.KeyHash() }) {
			return at.Size
		}
		return 0
	}
}

// take keeps what the witnesses signed, and says what that makes.
func (c *cosigning) take(ctx context.Context, answers []witness.Answer) (carrel.Outcome, *unwitnessed, error) {
	out := carrel.Outcome{Facts: map[string]carrel.Text{}, Counts: map[string]int64{"size": c.at.Size}}
	cosigned := bytes.Clone(c.signed)
	var by []verify.Cosignature
	var missing []string
	alarm := false
	for i, n := range answers {
		if n.Err != nil {
			alarm = alarm || errors.Is(n.Err, witness.ErrOtherPast)
			missing = append(missing, n.Name+": "+n.Err.Error())
			out.Facts[n.Name] = carrel.Text(n.Err.Error())
			continue
		}
		cosigned = append(cosigned, n.Line...)
		by = append(by, verify.Cosignature{Witness: n.Name, Hash: c.who.keys[i].KeyHash(), Time: n.Time})
		out.Facts[n.Name] = carrel.Text("cosigned at " + n.Time.Format(time.RFC3339))
	}
	out.Counts["cosigned"] = int64(len(by))
	if len(by) > 0 {
		c.signed = cosigned
		if err := c.log.KeepCosigned(ctx, cosigned); err != nil {
			return out, nil, err
		}
	}
	if !alarm && c.who.quorum.Satisfied(by) {
		return out, nil, nil
	}
	if alarm {
		out.Facts["alarm"] = "a witness has cosigned another past of this log"
	}
	return out, c.lacks(alarm, fmt.Sprintf("%d of %d witnesses cosigned the log's checkpoint: %s", len(by), len(answers), strings.Join(missing, "; "))), nil
}

func (c *cosigning) lacks(alarm bool, why string) *unwitnessed {
	if alarm {
		why = "ALARM: the log may have been rolled back or replaced: " + why
	}
	return &unwitnessed{why, alarm, c.who.refuse, c.who.where}
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
