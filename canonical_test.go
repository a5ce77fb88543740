package carrel

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type canonicalVector struct {
	Name string  `json:"name"`
	In   string  `json:"in"`
	Out  *string `json:"out"`
}

func canonicalVectors(t testing.TB) []canonicalVector {
	t.Helper()
	b, err := os.ReadFile("spec/vectors/canonical.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []canonicalVector `json:"vectors"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.Vectors
}

func TestCanonicalizeVectors(t *testing.T) {
	for _, v := range canonicalVectors(t) {
		got, err := Canonicalize([]byte(v.In))
		switch {
		case v.Out == nil && err == nil:
			t.Errorf("%s: %q has the form %q, want an error", v.Name, v.In, got)
		case v.Out != nil && (err != nil || string(got) != *v.Out):
			t.Errorf("%s: got %q, %v, want %q", v.Name, got, err, *v.Out)
		}
	}
}

func TestCanonicalizeRefusesInvalidUTF8(t *testing.T) {
	if got, err := Canonicalize([]byte("\"\xff\"")); err == nil {
		t.Errorf("got %q", got)
	}
}

func TestCanonicalizeBoundsDepth(t *testing.T) {
	deep := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if _, err := Canonicalize(deep(maxDepth)); err != nil {
		t.Errorf("depth %d: %v", maxDepth, err)
	}
	for _, n := range []int{maxDepth + 2, 10_000, 1_000_000} {
		if _, err := Canonicalize(deep(n)); err == nil {
			t.Errorf("depth %d was accepted", n)
		}
	}
}

// Two different values must never encode alike: encoding/json alone replaces
// invalid bytes, and then a digest would stand for both.
func TestCanonicalRefusesInvalidUTF8Anywhere(t *testing.T) {
	for name, v := range map[string]any{
		"string":     "\xff",
		"inside":     "a\xc3(b",
		"surrogate":  "\xed\xa0\x80",
		"map key":    map[string]int{"\xff": 1},
		"map value":  map[string]string{"a": "\xff"},
		"field":      Action{Operation: OpRead, Path: "/workspace/\xff"},
		"host":       Action{Operation: OpConnect, Host: "a\xff.test"},
		"rule":       Decision{Rules: []string{"\xfe"}},
		"from bytes": json.RawMessage("\"\xff\""),
	} {
		if b, err := Canonical(v); err == nil {
			t.Errorf("%s: encoded as %q", name, b)
		}
	}
	got, err := Canonical("\ufffd \\ufffd")
	if want := "\"\ufffd \\\\ufffd\""; err != nil || string(got) != want {
		t.Errorf("a true replacement character: %q, %v, want %q", got, err, want)
	}
}

func TestCanonicalRefusesFloats(t *testing.T) {
	for _, v := range []any{1.5, 1e300, uint64(1 << 60), int64(-1 << 53)} {
		if b, err := Canonical(v); err == nil {
			t.Errorf("%v encoded as %s", v, b)
		}
	}
	if b, err := Canonical(map[string]any{"<&>\u2028": int64(1<<53 - 1)}); err != nil || string(b) != "{\"<&>\u2028\":9007199254740991}" {
		t.Errorf("got %s, %v", b, err)
	}
}

func FuzzCanonicalize(f *testing.F) {
	for _, v := range canonicalVectors(f) {
		f.Add([]byte(v.In))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := Canonicalize(in)
		if err != nil {
			return
		}
		if !json.Valid(in) {
			t.Fatalf("%q is no JSON and was accepted", in)
		}
		again, err := Canonicalize(out)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q gave %q, which gave %q, %v", in, out, again, err)
		}
		var before, after any
		if json.Unmarshal(in, &before) != nil || json.Unmarshal(out, &after) != nil {
			t.Fatalf("%q and %q are not both readable", in, out)
		}
		a, _ := json.Marshal(before)
		b, _ := json.Marshal(after)
		if !bytes.Equal(a, b) {
			t.Fatalf("%q means %s, its form %s", in, a, b)
		}
	})
}

func BenchmarkCanonical(b *testing.B) {
	r := Record{Version: 1, Kind: KindIntent, Action: &Action{Operation: OpConnect, Host: "api.example.test", Port: 443}, Decision: &Decision{Verdict: Allow, Rules: []string{"user/egress"}}}
	for b.Loop() {
		if _, err := Canonical(r); err != nil {
			b.Fatal(err)
		}
	}
}
