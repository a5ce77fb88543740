package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

// attested makes one attested statement in a log of its own.
func attested(t testing.TB, s Statement) (Attestation, Trust) {
	t.Helper()
	private, public := signingKey(t, 1)
	_, logKey := fixtureKeys(t, fixtureOrigin)
	j := &journal{t: t}
	j.add(carrel.Record{Kind: carrel.KindLog, Note: "created"}, false)
	return j.announce(private, "chg_x", s)[0], Trust{[]PublicKey{public}, logKey}
}

var someSubject = []Resource{{Name: "f", Digest: map[string]string{DigestSHA256: strings.Repeat("a", 64)}}}

func someStatement(t testing.TB) Statement {
	return statement(t, TypeEvidence, someSubject, Evidence{Run: fixtureRun, Log: "x"})
}

func TestAttestationVerifies(t *testing.T) {
	a, trust := attested(t, someStatement(t))
	got, err := a.Check(trust)
	if err != nil || got.Index != 1 || got.Origin != fixtureOrigin || got.Key != trust.Keys[0].ID {
		t.Fatalf("%+v, %v", got, err)
	}
	var e Evidence
	if err := got.Statement.Read(TypeEvidence, &e); err != nil || e.Run != fixtureRun {
		t.Errorf("%+v, %v", e, err)
	}
	if err := got.Statement.Covers(map[string]string{DigestSHA256: strings.Repeat("a", 64)}); err != nil {
		t.Error(err)
	}
}

// Each is a way in which verifiers of this field were fooled.
func TestBundlesThatOthersFellFor(t *testing.T) {
	a, trust := attested(t, someStatement(t))
	good := string(a.Bundle)
	payloadAt := strings.Index(good, `"payload":"`) + len(`"payload":"`)
	sigAt := strings.Index(good, `"sig":"`)
	sig := good[sigAt+len(`"sig":"`) : sigAt+len(`"sig":"`)+strings.Index(good[sigAt+len(`"sig":"`):], `"`)]
	decoded, err := base64.StdEncoding.DecodeString(sig)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"another payload type":     strings.Replace(good, PayloadType, "application/json", 1),
		"plain text":               strings.Replace(good, PayloadType, "text/plain", 1),
		"another media type":       strings.Replace(good, BundleType, strings.Replace(BundleType, "v0.3", "v0.2", 1), 1),
		"no signature":             good[:sigAt-1] + good[sigAt+len(`"sig":"`)+len(sig)+2:],
		"two signatures":           strings.Replace(good, `"signatures":[{`, `"signatures":[{"sig":"`+sig+`"},{`, 1),
		"another key's name":       strings.Replace(good, string(trust.Keys[0].ID), string(carrel.DigestBytes(nil)), 1),
		"a keyid":                  strings.Replace(good, `"sig":`, `"keyid":"x","sig":`, 1),
		"URL base64":               strings.Replace(good, sig, base64.URLEncoding.EncodeToString(decoded)+"_", 1),
		"base64 without padding":   strings.Replace(good, sig, strings.TrimRight(sig, "=")+"A", 1),
		"a line end in base64":     good[:payloadAt+4] + `\n` + good[payloadAt+4:],
		"a member twice":           strings.Replace(good, `"mediaType":`, `"mediaType":"x","mediaType":`, 1),
		"another case":             strings.Replace(good, `"mediaType":`, `"MediaType":`, 1),
		"an unknown member":        strings.Replace(good, `"mediaType":`, `"extra":1,"mediaType":`, 1),
		"a certificate":            strings.Replace(good, `"publicKey":{`, `"certificate":{"rawBytes":"AA=="},"publicKey":{`, 1),
		"a log entry":              strings.Replace(good, `"publicKey":{`, `"tlogEntries":[],"publicKey":{`, 1),
		"white space":              strings.Replace(good, ":", ": ", 1),
		"something after it":       good + "{}",
		"nothing":                  "",
		"an array":                 "[]",
		"a message signature":      strings.Replace(good, `"dsseEnvelope"`, `"messageSignature"`, 1),
		"another payload":          good[:payloadAt] + "e30=" + good[payloadAt+strings.Index(good[payloadAt:], `"`):],
		"a signature of something": strings.Replace(good, sig, strings.Repeat("A", len(sig)-len(sig)%4), 1),
	} {
		if raw == good {
			t.Errorf("%s: the test alters nothing", name)
		}
		if got, err := (Attestation{[]byte(raw), a.Proof}).Check(trust); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestStatementsThatSayNothing(t *testing.T) {
	for name, alter := range map[string]func(*Statement){
		"version 0.1":         func(s *Statement) { s.Type = "https://in-toto.io/Statement/v0.1" },
		"no type":             func(s *Statement) { s.Type = "" },
		"no subject":          func(s *Statement) { s.Subject = nil },
		"an empty subject":    func(s *Statement) { s.Subject = []Resource{} },
		"no digest":           func(s *Statement) { s.Subject = []Resource{{Name: "f"}} },
		"too many subjects":   func(s *Statement) { s.Subject = make([]Resource, maxSubjects+1) },
		"no predicate":        func(s *Statement) { s.Predicate = []byte("null") },
		"a predicate in text": func(s *Statement) { s.Predicate = []byte(`"x"`) },
		"no predicate type":   func(s *Statement) { s.PredicateType = "" },
	} {
		s := someStatement(t)
		alter(&s)
		a, trust := attested(t, s)
		if got, err := a.Check(trust); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A type that begins like the wanted one is another (and so is a predicate of
// another shape under the right name).
func TestPredicateTypesAreComparedWhole(t *testing.T) {
	for _, name := range []string{TypeEvidence + "x", strings.TrimSuffix(TypeEvidence, "1"), strings.ToUpper(TypeEvidence), TypeProvenance} {
		s := someStatement(t)
		s.PredicateType = name
		a, trust := attested(t, s)
		got, err := a.Check(trust)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Statement.Read(TypeEvidence, &Evidence{}); err == nil {
			t.Errorf("%s was read as %s", name, TypeEvidence)
		}
	}
	s := someStatement(t)
	s.PredicateType = TypeProvenance
	if err := s.Read(TypeProvenance, &Provenance{}); err == nil {
		t.Error("evidence was read as provenance")
	}
}

func TestCoversEveryDigestThatIsAsked(t *testing.T) {
	s := Statement{Subject: []Resource{
		{Digest: map[string]string{DigestSHA256: "a"}}, {Digest: map[string]string{DigestCommit: "c"}}, {Digest: map[string]string{DigestTree: "t"}},
	}}
	two := Statement{Subject: append(append([]Resource{}, s.Subject...), Resource{Digest: map[string]string{DigestCommit: "d"}})}
	for name, c := range map[string]struct {
		s    Statement
		ask  map[string]string
		want bool
	}{
		"one":                          {s, map[string]string{DigestCommit: "c"}, true},
		"two":                          {s, map[string]string{DigestCommit: "c", DigestTree: "t"}, true},
		"nothing":                      {s, nil, false},
		"other bytes":                  {s, map[string]string{DigestSHA256: "b"}, false},
		"one right and one wrong":      {s, map[string]string{DigestCommit: "c", DigestTree: "x"}, false},
		"another algorithm":            {s, map[string]string{"sha1": "c"}, false},
		"one of two commits it covers": {two, map[string]string{DigestCommit: "c"}, false},
	} {
		if err := c.s.Covers(c.ask); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The proof of logging must be of this statement, this key and an announcement.
func TestProofOfAnotherAttestationIsRefused(t *testing.T) {
	private, public := signingKey(t, 1)
	_, logKey := fixtureKeys(t, fixtureOrigin)
	trust := Trust{[]PublicKey{public}, logKey}
	j := &journal{t: t}
	first := j.announce(private, "chg_x", someStatement(t))[0]
	s := someStatement(t)
	s.Subject = []Resource{{Name: "g", Digest: map[string]string{DigestSHA256: strings.Repeat("b", 64)}}}
	second := j.announce(private, "chg_x", s)[0]
	for name, a := range map[string]Attestation{
		"of an older one": {second.Bundle, first.Proof},
		"of a newer one":  {first.Bundle, second.Proof},
		"none":            {first.Bundle, nil},
	} {
		if got, err := a.Check(trust); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// The result of attesting is no announcement, nor is any other record.
	for _, index := range []int64{1, 3} {
		p := j.prove(index, 4)
		p.Extra = j.lines[index]
		if got, err := (Attestation{first.Bundle, p.Bytes()}).Check(trust); err == nil {
			t.Errorf("proof of record %d: %+v", index, got)
		}
	}
	// The same statement, announced for another key.
	other, otherPublic := signingKey(t, 2)
	stolen := Attestation{signed(t, other, mustBytes(t, someStatement(t))), first.Proof}
	if got, err := stolen.Check(Trust{[]PublicKey{otherPublic, public}, logKey}); err == nil {
		t.Errorf("signed by a key that was not announced: %+v", got)
	}
}

func mustBytes(t testing.TB, s Statement) []byte {
	t.Helper()
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every attestation of a commit is looked at: a good one makes up for nothing.
func TestEveryAttestationOfACommitCounts(t *testing.T) {
	private, public := signingKey(t, 1)
	_, logKey := fixtureKeys(t, fixtureOrigin)
	trust := Trust{[]PublicKey{public}, logKey}
	mallory, malloryPublic := signingKey(t, 2)
	lines := func(all ...Attestation) []byte {
		note, err := NoteLines(all)
		if err != nil {
			t.Fatal(err)
		}
		return note
	}
	s := newStory(t)
	good := s.set(private)
	again := s.set(private)
	check := func(note []byte, t Trust) ([]Set, error) { return CheckCommit(note, fixtureCommit, fixtureTree, t) }
	for name, tr := range map[string]Trust{"log named": trust, "log as the provenance names it": {Keys: trust.Keys}} {
		if sets, err := check(lines(good...), tr); err != nil || len(sets) != 1 {
			t.Errorf("%s: %d sets, %v", name, len(sets), err)
		}
		if sets, err := check(lines(append(again, good...)...), tr); err != nil || len(sets) != 2 {
			t.Errorf("%s, attested twice: %d sets, %v", name, len(sets), err)
		}
	}
	merged := append(lines(good[2], good[0]), lines(good...)...) // as git joins notes
	if sets, err := check(merged, trust); err != nil || len(sets) != 1 {
		t.Errorf("lines repeated and in another order: %d sets, %v", len(sets), err)
	}
	other := newStory(t)
	other.subjects[1].Digest[DigestCommit] = fixtureBase
	elsewhere := other.set(private)
	bad := newStory(t)
	bad.provenance.Build.Internal.Change.Withheld = 1
	lossy := newStory(t) // trace_complete is what a policy at the merge asks
	lossy.provenance.Build.Internal.Sandbox.Lost = 1
	lossy.result.Properties = slices.DeleteFunc(lossy.result.Properties, func(p string) bool { return p == PropertyTraceComplete })
	for name, c := range map[string]struct {
		note []byte
		t    Trust
	}{
		"none":                              {nil, trust},
		"an empty line":                     {[]byte("\n"), trust},
		"words":                             {append(lines(good...), "looks good to me\n"...), trust},
		"one missing":                       {lines(good[:2]...), trust},
		"provenance alone":                  {lines(good[0]), trust},
		"one of each, of two acts":          {lines(good[0], good[1], again[2]), trust},
		"a good set and one by a stranger":  {lines(append(newStory(t).set(mallory), good...)...), trust},
		"one of another commit":             {lines(elsewhere...), trust},
		"a good set and one of elsewhere":   {lines(append(elsewhere, good...)...), trust},
		"a good set and a wrong one":        {lines(append(bad.set(private), good...)...), trust},
		"complete, with losses":             {lines(lossy.set(private)...), trust},
		"nobody trusted":                    {lines(good...), Trust{Log: logKey}},
		"somebody else trusted":             {lines(good...), Trust{[]PublicKey{malloryPublic}, logKey}},
		"a provenance without its bundle":   {bytes.Replace(lines(good...), []byte(`"bundle"`), []byte(`"bundel"`), 1), trust},
		"too many":                          {bytes.Join(spaced(lines(good...), MaxAttestations), nil), trust},
		"somebody else's log, as they name": {lines(newStory(t).set(mallory)...), Trust{Keys: trust.Keys}},
	} {
		if sets, err := check(c.note, c.t); err == nil {
			t.Errorf("%s: %d sets", name, len(sets))
		}
	}
	if _, err := CheckCommit(lines(good...), fixtureCommit, fixtureBase, trust); err == nil {
		t.Error("another tree")
	}
}

// spaced repeats lines in ways that are not the same.
func spaced(lines []byte, n int) [][]byte {
	out := [][]byte{lines}
	for i := range n {
		out = append(out, []byte(`{"bundle":{"n":"`+strings.Repeat("x", i)+`"},"proof":""}`+"\n"))
	}
	return out
}

func TestPublicKeysHaveOneSpelling(t *testing.T) {
	_, public := signingKey(t, 1)
	good := string(public.PEM())
	if back, err := ParsePublicKey([]byte(good)); err != nil || back.ID != public.ID {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&p384.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private, _ := signingKey(t, 1)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":          "",
		"words around it":  "key:\n" + good,
		"two keys":         good + good,
		"a header":         strings.Replace(good, "-----\n", "-----\nA: b\n\n", 1),
		"carriage returns": strings.ReplaceAll(good, "\n", "\r\n"),
		"another curve":    string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"a private key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
		"DER":              string(der),
	} {
		if k, err := ParsePublicKey([]byte(text)); err == nil {
			t.Errorf("%s: read as %s", name, k.ID)
		}
	}
}

func FuzzBundle(f *testing.F) {
	a, trust := attested(f, someStatement(f))
	f.Add(a.Bundle)
	f.Add([]byte(`{"dsseEnvelope":{"payload":"","payloadType":"","signatures":[]},"mediaType":"","verificationMaterial":{"publicKey":{"hint":""}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ParseBundle(raw)
		if err != nil {
			return
		}
		if again, err := b.Bytes(); err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("%q was accepted and is written as %q, %v", raw, again, err)
		}
		if s, err := b.Verify(trust.Keys...); err == nil && !bytes.Equal(raw, a.Bundle) {
			t.Fatalf("a forged statement: %+v", s)
		}
	})
}

func FuzzStatement(f *testing.F) {
	s := newStory(f)
	for _, st := range []Statement{someStatement(f), statement(f, TypeProvenance, s.subjects, s.provenance), statement(f, TypeTrace, s.subjects, s.trace), statement(f, TypeVerification, s.subjects, s.result)} {
		f.Add(mustBytes(f, st))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ParseStatement(raw)
		if err != nil {
			return
		}
		if again, err := s.Bytes(); err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("%q was accepted and is written as %q, %v", raw, again, err)
		}
		// None of these may panic.
		var p Provenance
		if s.Read(TypeProvenance, &p) == nil {
			_, _ = p.Destinations()
			_ = p.LogKey()
			set := Set{Provenance: p, Attested: []Attested{{Statement: s}}}
			_ = set.consistent()
			_, _ = set.Tell()
			_, _ = set.Document(nil)
		}
		_ = s.Read(TypeTrace, &Trace{})
		_ = s.Read(TypeVerification, &Result{})
	})
}

func FuzzNote(f *testing.F) {
	private, public := signingKey(f, 1)
	s := newStory(f)
	note, err := NoteLines(s.set(private))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(note)
	f.Add([]byte(`{"bundle":{},"proof":""}` + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = ParseNote(raw)
		_, _ = CheckCommit(raw, fixtureCommit, fixtureTree, Trust{Keys: []PublicKey{public}})
	})
}
