package verify

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// memoryOf returns how much memory a function asks for in all.
func memoryOf(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Whoever makes a pack has keys of their own, so that everything in it may be
// signed and nothing of it true. Few bytes must not become much memory: an
// empty object in a list is two bytes, and hundreds in memory.
func TestPackBombs(t *testing.T) {
	const size = 8 << 20
	private, _ := signingKey(t, 1)
	story := newStory(t)
	whole := story.pack(private, story.set(private))
	list := func(before, one, after string) []byte {
		return []byte(before + strings.TrimSuffix(strings.Repeat(one+",", size/(len(one)+1)), ",") + after)
	}
	newlines := bytes.Repeat([]byte("\n"), size)
	in := func(names []string, content []byte) func() error {
		s := newStory(t)
		p := s.pack(private, s.set(private))
		for _, name := range names {
			p[name] = content
		}
		if names[0] != ManifestFile {
			s.seal(p, private)
		}
		return func() error { _, err := p.Check(Trust{}); return err }
	}
	for name, check := range map[string]func() error{
		"a manifest of nothing":      in([]string{ManifestFile}, list(`{"files":[`, `{}`, `],"v":1}`)),
		"records of nothing":         in([]string{RecordsFile}, newlines),
		"records and proofs of that": in([]string{RecordsFile, ProofsFile}, newlines),
		"a proof of nothing":         in([]string{ProofsFile}, append(list(`{"hashes":[`, `""`, `],"index":1}`), bytes.Repeat([]byte("\n"), bytes.Count(whole[ProofsFile], []byte("\n")))...)),
		"a key that begins often":    in([]string{KeyFile}, bytes.Repeat([]byte("-----BEGIN "), size/11)),
		"a change of nothing":        in([]string{ChangeFile}, list(`{"files":[`, `{}`, `]}`)),
		"a change of null":           in([]string{ChangeFile}, list(`{"files":[`, `null`, `]}`)),
		"a policy of nothing":        func() error { _, err := PolicySources(list(`{"sources":[{"files":[`, `{}`, `]}]}`)); return err },
		"a bundle of signatures": func() error {
			_, err := ParseBundle(list(`{"dsseEnvelope":{"signatures":[`, `{}`, `]}}`)[:size])
			return err
		},
		"a statement of subjects": func() error { _, err := ParseStatement(list(`{"subject":[`, `{}`, `]}`)); return err },
		"a provenance of dependencies": func() error {
			return decodeStrict(list(`{"buildDefinition":{"resolvedDependencies":[`, `null`, `]}}`), &Provenance{})
		},
	} {
		var err error
		if took := memoryOf(func() { err = check() }); err == nil || took > 4*size {
			t.Errorf("%s of %d MiB took %d MiB of memory: %v", name, size>>20, took>>20, err)
		}
	}
}

// A note of nothing but ends of lines is one that nobody wrote.
func TestNoteBomb(t *testing.T) {
	const size = 16 << 20
	note := bytes.Repeat([]byte("\n"), size)
	var err error
	if took := memoryOf(func() { _, err = ParseNote(note) }); err == nil || took > size {
		t.Errorf("%v, and %d bytes of memory", err, took)
	}
}

// Anybody can write to a proof's checkpoint that somebody else signed it, and so
// make many lines of one. They are not compared each with each.
func TestNoteOfOneAttestationInManySpellings(t *testing.T) {
	private, public := signingKey(t, 1)
	s := newStory(t)
	set := s.set(private)
	var all []Attestation
	for i := range MaxAttestations - 1 {
		foreign := fmt.Sprintf("— x%d %s\n", i, base64.StdEncoding.EncodeToString(make([]byte, 72)))
		all = append(all, Attestation{set[1].Bundle, append(bytes.Clone(set[1].Proof), foreign...)})
	}
	note, err := NoteLines(append(all, set[0]))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if sets, err := CheckCommit(note, fixtureCommit, fixtureTree, Trust{Keys: []PublicKey{public}}); err == nil {
		t.Errorf("%d sets", len(sets))
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// As many answers as a pack can hold are compared once each.
func TestApprovalsAreComparedOnce(t *testing.T) {
	var all []PackedRecord
	for i := range 1 << 16 {
		all = append(all, NewPackedRecord(int64(i), carrel.Record{Approval: &carrel.Approval{By: "u", Time: time.Unix(int64(i), 0).UTC()}}))
	}
	start := time.Now()
	if got := Approvals(append(all, all...)); len(got) != len(all) {
		t.Errorf("%d of %d answers", len(got), len(all))
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
}
