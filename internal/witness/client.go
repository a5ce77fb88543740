package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/verify"
)

// Witness is one that can be asked.
type Witness struct {
	verify.Witness
	URL string // below which add-checkpoint is
}

// Request is what witnesses are asked to cosign.
type Request struct {
	Signed []byte // the checkpoint, signed by the log
	Size   int64  // of the log in it
	Text   string // that was signed
	// Prove returns the proof that the log of Size contains its own past of
	// size old, 0 < old < Size. It is called concurrently.
	Prove func(old int64) ([]tlog.Hash, error)
	// Known says up to where a witness has cosigned before, as far as that is
	// known; it is a guess that saves a question. May be nil.
	Known func(verify.Witness) int64
}

// Answer is what came of asking one witness.
type Answer struct {
	Name string
	Line []byte // its signature line, if it cosigned
	Time time.Time
	Err  error // why not; wraps ErrOtherPast if the witness knows another log
	// Ahead is the size that the witness knows, where that is more than was
	// sent; else 0.
	Ahead int64
}

// ErrOtherPast says that a witness has cosigned a past of the log that is not
// in the log: it was rolled back or replaced, unless the witness is wrong.
var ErrOtherPast = errors.New("the witness has cosigned another past of this log")

const (
	maxAnswer   = 64 << 10
	maxAttempts = 3                // the sizes it may name one after the other
	maxSkew     = 10 * time.Minute // between its clock and ours
)

// Client asks witnesses.
type Client struct {
	HTTP *http.Client     // NewHTTP
	Now  func() time.Time // nil: time.Now
}

// Ask asks all witnesses at once, under a grant for a, and returns their
// answers in the same order. ctx bounds the whole.
func (c *Client) Ask(ctx context.Context, g gate.Grant, a carrel.Action, all []Witness, r Request) ([]Answer, error) {
	if err := g.Covers(a); err != nil {
		return nil, fmt.Errorf("asking witnesses: %w", err)
	}
	answers := make([]Answer, len(all))
	done := make(chan struct{})
	for i, w := range all {
		go func() { // ends with ctx at the latest
			defer func() { done <- struct{}{} }()
			answers[i] = c.ask(ctx, w, r)
		}()
	}
	for range all {
		<-done
	}
	return answers, nil
}

// ask asks one witness, from the size it says it knows.
func (c *Client) ask(ctx context.Context, w Witness, r Request) Answer {
	out := Answer{Name: w.Name()}
	var old int64
	if r.Known != nil {
		old = r.Known(w.Witness)
	}
	if old < 0 || old > r.Size {
		old = 0
	}
	for range maxAttempts {
		body, err := r.body(old)
		if err != nil {
			out.Err = err
			return out
		}
		reply, err := c.post(ctx, w.URL, body)
		if err != nil {
			out.Err = err
			return out
		}
		if reply.status != http.StatusConflict {
			out.Line, out.Time, out.Err = c.read(w, r, reply)
			return out
		}
		known, err := parseSize(reply)
		switch {
		case err != nil:
			out.Err = err
			return out
		case known > r.Size:
			out.Ahead, out.Err = known, fmt.Errorf("%w: it has cosigned %d records, and this log has %d", ErrOtherPast, known, r.Size)
			return out
		case known == old && old == 0:
			out.Err = errors.New("the witness refuses a first checkpoint, and says that it knows none")
			return out
		case known == old:
			out.Err = fmt.Errorf("%w: its first %d records are not those of this log", ErrOtherPast, known)
			return out
		}
		old = known
	}
	out.Err = errors.New("the witness names another size each time it is asked")
	return out
}

// body is an add-checkpoint request for a witness that knows old records.
func (r *Request) body(old int64) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", old)
	if old > 0 && old < r.Size {
		proof, err := r.Prove(old)
		if err != nil {
			return nil, fmt.Errorf("proving that the log contains its first %d records: %w", old, err)
		}
		for _, h := range proof {
			b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
		}
	}
	b.WriteByte('\n')
	b.Write(r.Signed)
	return b.Bytes(), nil
}

type reply struct {
	status      int
	contentType string
	body        []byte
}

func (c *Client) post(ctx context.Context, url string, body []byte) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(url, "/")+"/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("User-Agent", "carrel")
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return reply{}, fmt.Errorf("asking the witness: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return reply{}, fmt.Errorf("reading the witness's answer: %w", err)
	case len(b) > maxAnswer:
		return reply{}, fmt.Errorf("the witness's answer is over the limit of %d bytes", maxAnswer)
	}
	return reply{resp.StatusCode, resp.Header.Get("Content-Type"), b}, nil
}

// read reads the final answer of a witness.
func (c *Client) read(w Witness, r Request, got reply) ([]byte, time.Time, error) {
	switch got.status {
	case http.StatusOK:
		now := time.Now
		if c.Now != nil {
			now = c.Now
		}
		return Cosignature(w.Witness, r.Text, got.body, now())
	case http.StatusNotFound:
		return nil, time.Time{}, errors.New("the witness does not know this log, or is not there: give its operator log.vkey (carrel identity export), and look at its url")
	case http.StatusForbidden:
		return nil, time.Time{}, errors.New("the witness does not take this log's key: give its operator the log.vkey in force (carrel identity export); the key may have been rotated")
	case http.StatusUnprocessableEntity: // our proof was made of a tree that has the signed root
		return nil, time.Time{}, fmt.Errorf("%w: it does not accept the proof that the log goes on from what it knows", ErrOtherPast)
	}
	return nil, time.Time{}, fmt.Errorf("the witness answered with status %d", got.status)
}
