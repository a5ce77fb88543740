package audit

import (
	"crypto/rand"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// The signatures are the standard library's, and keys that it refuses are
// refused.
func TestSignerAgrees(t *testing.T) {
	private, public, err := note.GenerateKey(rand.Reader, "carrel.local/log/test")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := newSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	if ours.public != public || ours.Name() != theirs.Name() || ours.KeyHash() != theirs.KeyHash() {
		t.Errorf("%q %s %x, want %q %s %x", ours.public, ours.Name(), ours.KeyHash(), public, theirs.Name(), theirs.KeyHash())
	}
	for _, text := range []string{"", "a\n", strings.Repeat("long", 10000)} {
		a, _ := theirs.Sign([]byte(text))
		b, _ := ours.Sign([]byte(text))
		if string(a) != string(b) {
			t.Errorf("another signature of %.10q", text)
		}
		v, err := newVerifier(public)
		if err != nil || !v.Verify([]byte(text), a) || v.Verify([]byte(text+"x"), a) {
			t.Errorf("a signature of %.10q: %v", text, err)
		}
	}
}

func FuzzSigner(f *testing.F) {
	private, public, err := note.GenerateKey(rand.Reader, "carrel.local/log/test")
	if err != nil {
		f.Fatal(err)
	}
	other, _, _ := note.GenerateKey(rand.Reader, "carrel.local/log/test")
	parts := strings.SplitN(private, "+", 5)
	swapped := strings.Join([]string{parts[0], parts[1], parts[2], parts[3], strings.SplitN(other, "+", 5)[4]}, "+")
	for _, text := range []string{private, public, other, swapped, "", "PRIVATE+KEY+a+0+AA==", private + "=", strings.ToUpper(private), " " + private} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, theirs := note.NewSigner(text)
		if _, ours := newSigner(text); ours == nil && theirs != nil {
			t.Errorf("taken, while the standard says: %v", theirs)
		}
	})
}
