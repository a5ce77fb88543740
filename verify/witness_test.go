package verify

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// witnessKey makes the key of a witness, as tests of it need.
func witnessKey(name string, seed byte) (ed25519.PrivateKey, string) {
	private := ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, 32))
	raw := append([]byte{algCosignature}, private.Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte(name+"\n"), raw...))
	return private, fmt.Sprintf("%s+%08x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(raw))
}

func cosign(t *testing.T, signed []byte, text string, names map[string]byte) []byte {
	t.Helper()
	out := slices.Clone(signed)
	for _, name := range []string{"a", "b", "c"} {
		if names[name] == 0 {
			continue
		}
		private, vkey := witnessKey(name, names[name])
		w, err := ParseWitness(vkey)
		if err != nil {
			t.Fatal(err)
		}
		raw := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, w.KeyHash()), 1_700_000_000)
		raw = append(raw, ed25519.Sign(private, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", 1_700_000_000, text))...)
		out = fmt.Appendf(out, "— %s %s\n", name, base64.StdEncoding.EncodeToString(raw))
	}
	return out
}

func witnessedFixture(t *testing.T) (signed []byte, text, key string) {
	signer, key := fixtureKeys(t, fixtureOrigin)
	text = Checkpoint{fixtureOrigin, 5, tlog.Hash{1}}.Text()
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed, text, key
}

func policyText(quorum string) string {
	_, a := witnessKey("a", 1)
	_, b := witnessKey("b", 2)
	_, c := witnessKey("c", 3)
	return "# who watches\nwitness A " + a + "\nwitness B " + b + " https://b.example/\nwitness C " + c +
		"\n\ngroup bc any B C\ngroup all all A bc\ngroup two 1 all\nquorum " + quorum + "\n"
}

func TestWitnessPolicy(t *testing.T) {
	signed, text, key := witnessedFixture(t)
	for _, tc := range []struct {
		quorum string
		by     map[string]byte
		ok     bool
	}{
		{"none", nil, true}, {"A", nil, false}, {"A", map[string]byte{"a": 1}, true}, {"A", map[string]byte{"b": 2}, false},
		{"bc", map[string]byte{"c": 3}, true}, {"all", map[string]byte{"a": 1}, false}, {"all", map[string]byte{"b": 2, "c": 3}, false},
		{"two", map[string]byte{"a": 1, "b": 2}, true},
		{"A", map[string]byte{"a": 9}, false}, // of another key by this name
	} {
		p, err := ParseWitnessPolicy([]byte(policyText(tc.quorum)))
		if err != nil {
			t.Fatal(err)
		}
		by, err := p.Check(cosign(t, signed, text, tc.by), key)
		if tc.ok != (err == nil) || err != nil && !errors.Is(err, ErrQuorum) {
			t.Errorf("%s of %v: %v, %v", tc.quorum, tc.by, by, err)
		}
	}
}

// A wrong signature under a known key makes a checkpoint worthless, even where
// the others would be enough, and one of another checkpoint is wrong.
func TestWrongCosignatures(t *testing.T) {
	signed, text, key := witnessedFixture(t)
	p, err := ParseWitnessPolicy([]byte(policyText("bc")))
	if err != nil {
		t.Fatal(err)
	}
	moved := cosign(t, signed, strings.Replace(text, "\n5\n", "\n4\n", 1), map[string]byte{"a": 1})
	if by, err := p.Check(cosign(t, moved, text, map[string]byte{"b": 2}), key); err == nil {
		t.Errorf("with a cosignature of another checkpoint: %v", by)
	}
	good := cosign(t, signed, text, map[string]byte{"b": 2})
	if _, err := p.Check(good, key); err != nil {
		t.Fatal(err)
	}
	for i := len(signed); i < len(good); i++ {
		for bit := range 8 {
			bad := slices.Clone(good)
			bad[i] ^= 1 << bit
			if by, err := p.Check(bad, key); err == nil {
				t.Fatalf("bit %d of byte %d: %v", bit, i, by)
			}
		}
	}
	_, other := fixtureKeys(t, "carrel.local/log/other")
	p.Logs = []string{other}
	if _, err := p.Check(good, key); !errors.Is(err, ErrUntrusted) {
		t.Errorf("a log that the policy does not name: %v", err)
	}
}

func TestParseWitnessPolicyIsStrict(t *testing.T) {
	_, a := witnessKey("a", 1)
	_, logKey := fixtureKeys(t, fixtureOrigin)
	base := "witness A " + a + "\n"
	for name, text := range map[string]string{
		"nothing": "", "no quorum": base, "two quorums": base + "quorum A\nquorum none\n", "an unknown quorum": base + "quorum B\n",
		"a later definition": "group g any A\n" + base + "quorum g\n", "a word that is none": base + "wittness B x\nquorum A\n",
		"a witness twice": base + "witness B " + a + "\nquorum A\n", "a name twice": base + "group A any A\nquorum A\n",
		"a group of none": base + "group g 0 A\nquorum g\n", "a group of too few": base + "group g 2 A\nquorum g\n",
		"a member twice": base + "group g 2 A A\nquorum g\n", "a member of two groups": base + "group g any A\ngroup h any A\nquorum g\n",
		"a log's key": "witness A " + logKey + "\nquorum A\n", "too many words": base + "quorum A B\n", "the word none": "witness none " + a + "\nquorum none\n",
	} {
		if _, err := ParseWitnessPolicy([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := ParseWitnessPolicy([]byte(base + "quorum A # all of it\n")); err != nil {
		t.Error(err)
	}
	if _, err := Quorum(0); err == nil {
		t.Error("a quorum of nobody")
	}
}

func TestParseWitnessIsStrict(t *testing.T) {
	_, good := witnessKey("w.example/one", 1)
	if w, err := ParseWitness(good); err != nil || w.Name() != "w.example/one" {
		t.Fatal(err)
	}
	_, logKey := fixtureKeys(t, fixtureOrigin)
	_, spaced := witnessKey("a b", 1)
	_, wide := witnessKey("a\u2003b", 1)
	for name, key := range map[string]string{"nothing": "", "a log's key": logKey, "a space": spaced, "a wide space": wide,
		"another name": "x" + good, "a short key": good[:len(good)-4], "stray bytes": good + "\n"} {
		if _, err := ParseWitness(key); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzWitnessPolicy(f *testing.F) {
	f.Add([]byte(policyText("two")))
	f.Add([]byte("quorum none\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseWitnessPolicy(text)
		if err == nil && p.quorum != "" && p.Satisfied(nil) {
			t.Fatal("nobody is enough for a quorum")
		}
	})
}
