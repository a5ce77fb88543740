package credential

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

var testTime = time.Unix(1900000000, 0)

func fetchOf(key *string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return *key, nil }
}

// FuzzAnswerFilter breaks an answer with a key in it at points of the
// fuzzer's choice: nothing of the key passes, and nothing else changes.
func FuzzAnswerFilter(f *testing.F) {
	f.Add([]byte("data: "), []byte("\n\n"), []byte{1, 2, 3}, 0)
	f.Add([]byte("ghp_ghp_ghp_R4nd0m"), []byte("ghp_"), []byte{5}, 1)
	f.Add([]byte(secretOf["github"][:30]), []byte(secretOf["github"][30:]), []byte{0, 255}, 7)
	secret := secretOf["github"]
	hide := &texts{spellings(secret, newPlaceholder(secret, testTime))}
	f.Fuzz(func(t *testing.T, before, after, cuts []byte, how int) {
		spelt := spell(secret)
		written := spelt[((how%len(spelt))+len(spelt))%len(spelt)]
		whole := append(append(append([]byte(nil), before...), written...), after...)
		s := &stream{from: &inCuts{whole, cuts}, texts: hide}
		s.look = func(b []byte) error { hide.replace(b); hide.replaceCut(b, len(b)-hide.begun(b)); return nil }
		s.last = func(b []byte) { hide.replaceCut(b, len(b)) }
		got, err := io.ReadAll(s)
		if err != nil || len(got) != len(whole) || hide.has(got) {
			t.Fatalf("%d bytes of %d, found again %v, %v", len(got), len(whole), hide.has(got), err)
		}
		want := append([]byte(nil), whole...)
		hide.replace(want)
		if hide.replaceCut(want, len(want)); !bytes.Equal(got, want) {
			t.Fatalf("in pieces\n%q, whole\n%q", got, want)
		}
	})
}

// inCuts reads in pieces of the lengths given, over and over.
type inCuts struct{ text, cuts []byte }

func (r *inCuts) Read(p []byte) (int, error) {
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if len(r.cuts) > 0 {
		n = int(r.cuts[0])
		r.cuts = append(r.cuts[1:], r.cuts[0])
		if n == 0 {
			n = 1
		}
	}
	n = copy(p, r.text[:min(n, len(r.text))])
	r.text = r.text[n:]
	return n, nil
}

// FuzzPlaceholderFinder writes requests: whatever the spelling around it, a
// placeholder in the value of a header is used where it belongs or refused,
// and the key is never put anywhere else.
func FuzzPlaceholderFinder(f *testing.F) {
	f.Add("Authorization", "Bearer ", "", "/user", "a=1")
	f.Add("X-Other", "", "", "/user", "")
	f.Add("Authorization", "Basic ", "=", "/user", "key=%67")
	f.Fuzz(func(t *testing.T, name, before, after, path, query string) {
		if !strings.HasPrefix(path, "/") || len(path) > 1000 {
			return
		}
		d := lend(t, github())
		p := d.held["github"]
		r := request("GET", "https://api.github.test/user")
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header[name] = []string{before + p + after}
		if err := d.Outgoing(context.Background(), "api.github.test", 443, r); err != nil {
			if leaked(strings.Join(r.Header[name], ""), secretOf["github"]) {
				t.Fatalf("refused, and put in: %q", r.Header)
			}
			return
		}
		if name != "Authorization" || after != "" || r.Header[name][0] != before+secretOf["github"] || strings.ContainsAny(before, "\r\n\x00") {
			t.Fatalf("%q: %q was accepted as %q", name, before+p+after, r.Header[name])
		}
	})
}
