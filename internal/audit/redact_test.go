package audit

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/carrel-dev/carrel"
)

const theSecret = `sk-"quoted"/hunter2hunter2`

func spelt(s string) []string {
	return []string{base64.RawStdEncoding.EncodeToString([]byte(s)), strings.ReplaceAll(s, `"`, `\"`)}
}

func redacting(t *testing.T) (Options, *Redactor) {
	t.Helper()
	o := quickOptions(t)
	r := NewRedactor(o.KeyDir)
	if err := r.Add(theSecret, spelt(theSecret)); err != nil {
		t.Fatal(err)
	}
	o.Redact = r
	return o, r
}

// everything of the log's directory, to look for what must not be there.
func allBytes(t *testing.T, o Options) []byte {
	t.Helper()
	var all [][]byte
	for path, content := range takeSnapshot(t, o) {
		if filepath.Dir(path) != o.KeyDir {
			all = append(all, content)
		}
	}
	return bytes.Join(all, []byte("\n"))
}

// A known secret gets into no record, wherever and however it stands there,
// and nothing the caller holds is changed.
func TestSecretsAreTakenOutOfRecords(t *testing.T) {
	o, r := redacting(t)
	ctx := context.Background()
	l := mustOpen(t, o)
	run := startRun(t, l)
	outcome := &carrel.Outcome{Status: carrel.OutcomeFailed, Error: carrel.Text("refused: " + theSecret), Facts: map[string]carrel.Text{theSecret: carrel.Text(spelt(theSecret)[0])}, Counts: map[string]int64{theSecret: 1}}
	info := &carrel.RunInfo{Command: []carrel.Text{"curl", "-H", carrel.Text("Authorization: " + theSecret)}, Grants: []string{"x " + theSecret}}
	for _, record := range []carrel.Record{
		{Kind: carrel.KindObservation, Run: run, Note: carrel.Text("saw " + theSecret + "\xff")},
		{Kind: carrel.KindObservation, Run: run, Outcome: outcome},
		{Kind: carrel.KindRunEnd, Run: run, RunInfo: info},
	} {
		if err := l.Append(ctx, record); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Append(ctx, observe("no secret here")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(outcome.Error), theSecret) || !strings.Contains(string(info.Command[2]), theSecret) {
		t.Error("the caller's record was changed")
	}
	l.Close()
	if report := check(t, o); report.Runs != 1 {
		t.Errorf("%+v", report)
	}
	all := allBytes(t, o)
	for _, s := range append(spelt(theSecret), theSecret, "hunter2") {
		if bytes.Contains(all, []byte(s)) {
			t.Errorf("%q is in the log", s)
		}
	}
	token, err := r.Token(theSecret)
	if err != nil || bytes.Count(all, []byte(token)) < 6 {
		t.Errorf("token %s is there %d times, %v", token, bytes.Count(all, []byte(token)), err)
	}
}

// Equal secrets have equal tokens under one key, also in another process;
// other secrets and other keys do not, and a token does not hold the secret.
func TestTokensProveEquality(t *testing.T) {
	o, r := redacting(t)
	token := func(r *Redactor, s string) string {
		out, err := r.Token(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	again := NewRedactor(o.KeyDir)
	other := NewRedactor(quickOptions(t).KeyDir)
	mine := token(r, theSecret)
	if mine != token(again, theSecret) {
		t.Error("the same secret has another token in another process")
	}
	if mine == token(r, theSecret+"x") || mine == token(other, theSecret) {
		t.Error("another secret, or another log, has the same token")
	}
	if err := r.Add("short", nil); err == nil {
		t.Error("a secret that cannot be told from other text is taken")
	}
	if err := os.WriteFile(filepath.Join(o.KeyDir, redactionKeyFile), []byte("AAAA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewRedactor(o.KeyDir).Token(theSecret); err == nil {
		t.Error("a damaged redaction key is used")
	}
}

// An action that was digested with a secret in it is not recorded: its digest
// could not be checked any more.
func TestActionWithASecretIsNotRecorded(t *testing.T) {
	o, r := redacting(t)
	l := mustOpen(t, o)
	defer l.Close()
	a := carrel.Action{ID: carrel.NewActionID(), Operation: carrel.OpRequest, URL: theSecret}
	digest, err := a.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(context.Background(), carrel.Record{Kind: carrel.KindIntent, Action: &a, ActionDigest: digest}); err == nil {
		t.Error("it is recorded")
	}
	if clean := r.Action(a); strings.Contains(string(clean.URL), "hunter2") || !strings.Contains(string(a.URL), "hunter2") {
		t.Errorf("%+v from %+v", clean, a)
	}
}

// Runs that begin at once in a new home make the key together: each of them
// needs all of it, and the same.
func TestTheFirstRedactionKeyIsOneForAll(t *testing.T) {
	for range 50 {
		dir := t.TempDir()
		tokens := make([]string, 8)
		var start, done sync.WaitGroup
		start.Add(1)
		for i := range tokens {
			done.Go(func() {
				start.Wait()
				var err error
				if tokens[i], err = NewRedactor(dir).Token(theSecret); err != nil {
					t.Error(err)
				}
			})
		}
		start.Done()
		done.Wait()
		if equal := slices.Compact(tokens); len(equal) != 1 {
			t.Fatalf("tokens differ: %q", equal)
		}
	}
}
