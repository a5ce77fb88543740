package witness

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/verify"
)

// key is a witness's key, for servers that lie.
type key struct {
	private ed25519.PrivateKey
	witness verify.Witness
}

func newKey(t *testing.T, name string) key {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := append([]byte{4}, public...)
	sum := sha256.Sum256(append([]byte(name+"\n"), raw...))
	w, err := verify.ParseWitness(fmt.Sprintf("%s+%08x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return key{private, w}
}

// cosign is the line of an honest witness.
func (k key) cosign(text string, at int64) string {
	sig := ed25519.Sign(k.private, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text))
	raw := binary.BigEndian.AppendUint32(nil, k.witness.KeyHash())
	raw = append(binary.BigEndian.AppendUint64(raw, uint64(at)), sig...)
	return "— " + k.witness.Name() + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

// tree is a log of n records that can be signed and proved.
type tree struct {
	hashes []tlog.Hash
	size   int64
	signer note.Signer
	Key    string
}

func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, t.hashes[i])
	}
	return out, nil
}

func newTree(t *testing.T) *tree {
	t.Helper()
	private, public, err := note.GenerateKey(nil, "carrel.local/log/test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return &tree{signer: signer, Key: public}
}

// grow appends records up to n; salt makes them others.
func (t *tree) grow(test *testing.T, n int64, salt string) {
	test.Helper()
	for ; t.size < n; t.size++ {
		stored, err := tlog.StoredHashes(t.size, fmt.Appendf(nil, "%s %d", salt, t.size), t)
		if err != nil {
			test.Fatal(err)
		}
		t.hashes = append(t.hashes, stored...)
	}
}

func (t *tree) request(test *testing.T, known int64) Request {
	test.Helper()
	root, err := tlog.TreeHash(t.size, t)
	if err != nil {
		test.Fatal(err)
	}
	c := verify.Checkpoint{Origin: "carrel.local/log/test", Size: t.size, Root: root}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, t.signer)
	if err != nil {
		test.Fatal(err)
	}
	return Request{Signed: signed, Size: t.size, Text: c.Text(),
		Prove: func(old int64) ([]tlog.Hash, error) { return tlog.ProveTree(c.Size, old, t) },
		Known: func(verify.Witness) int64 { return known }}
}

// ask asks through a gate that allows it.
func ask(t *testing.T, timeout time.Duration, r Request, all ...Witness) []Answer {
	t.Helper()
	g, _ := gatetest.AllowAll()
	a := carrel.Action{ID: carrel.NewActionID(), Operation: carrel.OpPolicy, Subject: "log:witness:test"}
	c := Client{HTTP: NewHTTP("", "", nil)}
	var answers []Answer
	_, err := g.Do(context.Background(), a, func(ctx context.Context, grant gate.Grant) (out carrel.Outcome, err error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		answers, err = c.Ask(ctx, grant, a, all, r)
		return out, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

func TestAskNeedsAGrant(t *testing.T) {
	tr := newTree(t)
	tr.grow(t, 3, "a")
	k := newKey(t, "w.example")
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	c := Client{HTTP: NewHTTP("", "", nil)}
	a := carrel.Action{ID: carrel.NewActionID(), Operation: carrel.OpPolicy, Subject: "log:witness:test"}
	gatetest.Contract(t, gatetest.Effect{
		Name: "asking witnesses", Action: a,
		Call: func(ctx context.Context, g gate.Grant) error {
			_, err := c.Ask(ctx, g, a, []Witness{{k.witness, server.URL}}, tr.request(t, 0))
			return err
		},
		Happened: func() bool {
			before := asked
			asked = 0
			return before > 0
		},
	})
}

// A witness may say anything; only its cosignature over what was sent counts,
// and nothing it says holds the caller up or fills its memory.
func TestWitnessesThatLie(t *testing.T) {
	tr := newTree(t)
	tr.grow(t, 5, "a")
	old := tr.request(t, 0).Text
	tr.grow(t, 9, "a")
	r := tr.request(t, 0)
	k, other := newKey(t, "w.example"), newKey(t, "w.example")
	now := time.Now().Unix()
	body := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
	}
	conflict := func(kind, s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, s)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
	}
	good := k.cosign(r.Text, now)
	flipped := []byte(good)
	if at := len(flipped) - 10; flipped[at] != 'A' { // another letter of base64
		flipped[at] = 'A'
	} else {
		flipped[at] = 'B'
	}
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    string // of the error; empty: cosigned
	}{
		"an honest one":                  {body(good), ""},
		"one with a line of another key": {body(other.cosign(r.Text, now) + good), ""},
		"only another key":               {body(other.cosign(r.Text, now)), "without a cosignature"},
		"a wrong signature":              {body(string(flipped)), "wrong"},
		"an older checkpoint's":          {body(k.cosign(old, now)), "wrong"},
		"an old one of this checkpoint":  {body(k.cosign(r.Text, now-3600)), "an old one"},
		"one of the future":              {body(k.cosign(r.Text, now+3600)), "an old one sent again, or a clock"},
		"of time zero":                   {body(k.cosign(r.Text, 0)), "wrong"},
		"twice":                          {body(good + good), "twice"},
		"nothing":                        {body(""), "whole lines"},
		"no whole line":                  {body(strings.TrimSuffix(good, "\n")), "whole lines"},
		"garbage":                        {body("\x00\xff<html>\n"), "signature lines"},
		"too much":                       {body(strings.Repeat("x", 1<<20)), "over the limit"},
		"conflict without a type":        {conflict("text/plain", "5\n"), "no text/x.tlog.size"},
		"conflict without a number":      {conflict(sizeType, "five\n"), "names no size"},
		"conflict with a loose number":   {conflict(sizeType, "05\n"), "names no size"},
		"conflict with a negative":       {conflict(sizeType, "-1\n"), "names no size"},
		"conflict about nothing":         {conflict(sizeType, "0\n"), "says that it knows none"},
		"redirect": {func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "/elsewhere", http.StatusTemporaryRedirect)
		}, "status 307"},
		"unknown log":       {status(404), "does not know this log"},
		"wrong key":         {status(403), "does not take this log's key"},
		"overloaded":        {status(503), "status 503"},
		"an endless header": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("y", 64<<10)) }, "asking the witness"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.handler)
			defer server.Close()
			n := ask(t, 5*time.Second, r, Witness{k.witness, server.URL})[0]
			if tc.want == "" && (n.Err != nil || string(n.Line) != good) {
				t.Errorf("%v, %q", n.Err, n.Line)
			}
			if tc.want != "" && (n.Err == nil || !strings.Contains(n.Err.Error(), tc.want) || n.Line != nil || errors.Is(n.Err, ErrOtherPast)) {
				t.Errorf("%v, %q; want an error with %q", n.Err, n.Line, tc.want)
			}
		})
	}
}

// Sizes that change with each question end, and a witness that hangs holds
// nobody up for longer than the caller waits, and the others not at all.
func TestWitnessesThatGoOn(t *testing.T) {
	tr := newTree(t)
	tr.grow(t, 9, "a")
	r := tr.request(t, 0)
	k := newKey(t, "w.example")
	n := 0
	moving := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("Content-Type", sizeType)
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%d\n", n)
	}))
	defer moving.Close()
	if got := ask(t, 5*time.Second, r, Witness{k.witness, moving.URL})[0]; got.Err == nil || n != maxAttempts {
		t.Errorf("%v after %d questions", got.Err, n)
	}
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		for {
			select {
			case <-release:
				return
			case <-time.After(20 * time.Millisecond):
				fmt.Fprint(w, "x")
				w.(http.Flusher).Flush()
			}
		}
	}))
	defer slow.Close()
	defer close(release)
	honest := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, k.cosign(r.Text, time.Now().Unix()))
	}))
	defer honest.Close()
	begun := time.Now()
	got := ask(t, 300*time.Millisecond, r, Witness{k.witness, slow.URL}, Witness{k.witness, honest.URL})
	if took := time.Since(begun); took > 3*time.Second || got[0].Err == nil || got[1].Err != nil {
		t.Errorf("after %v: %v, %v", took, got[0].Err, got[1].Err)
	}
}

func FuzzAnswer(f *testing.F) {
	text := "carrel.local/log/test\n1\n" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"
	seed := ed25519.NewKeyFromSeed(make([]byte, 32))
	raw := append([]byte{4}, seed.Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte("w\n"), raw...))
	w, err := verify.ParseWitness(fmt.Sprintf("w+%08x+%s", sum[:4], base64.StdEncoding.EncodeToString(raw)))
	if err != nil {
		f.Fatal(err)
	}
	good := key{seed, w}.cosign(text, 1_700_000_000)
	f.Add([]byte(good), "text/x.tlog.size")
	f.Add([]byte("12\n"), "text/x.tlog.size; charset=utf-8")
	f.Add([]byte("— w AAAA\n"), "")
	f.Fuzz(func(t *testing.T, answer []byte, kind string) {
		line, _, err := Cosignature(w, text, answer, time.Unix(1_700_000_000, 0))
		if err == nil && string(line) != good {
			t.Fatalf("%q is taken for a cosignature", line)
		}
		if n, err := parseSize(reply{409, kind, answer}); err == nil && fmt.Sprintf("%d\n", n) != string(answer) {
			t.Fatalf("%q is taken for %d", answer, n)
		}
	})
}
