package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/witness"
	"github.com/carrel-dev/carrel/verify"
)

// witnessWait bounds how long a checkpoint waits for its witnesses, all
// together.
const witnessWait = 5 * time.Second

// cosigning is one act of having a checkpoint cosigned.
type cosigning struct {
	e      *Records
	log    *audit.Log
	who    *witnesses
	client witness.Client
	stand  func(context.Context) ([]byte, error) // the checkpoint to be cosigned

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
		c.signed, err = c.stand(ctx)
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
// has that much by now. Such an answer is no alarm.
func (c *cosigning) overtaken(ctx context.Context, answers []witness.Answer) (yes bool) {
	for i := range answers {
		n := &answers[i]
		if n.Ahead == 0 {
			continue
		}
		size, err := audit.OpenReader(c.e.state("log")).Size(context.WithoutCancel(ctx))
		if err == nil && size >= n.Ahead {
			yes, n.Err = true, errOvertaken
		}
	}
	return yes && ctx.Err() == nil
}

var errOvertaken = errors.New("another process had a later checkpoint cosigned at the same time")

// sign gets the checkpoint, and reads it.
func (c *cosigning) sign(ctx context.Context) (err error) {
	if c.signed, err = c.stand(ctx); err != nil {
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
