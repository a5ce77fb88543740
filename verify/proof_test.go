package verify

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// fixtureProof proves the record at index in the log of the given lines.
func fixtureProof(t testing.TB, lines [][]byte, index int) Proof {
	t.Helper()
	var tree Tree
	var stored []tlog.Hash
	for _, line := range lines {
		stored = tree.Append(tlog.RecordHash(line), stored)
	}
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, n := range indexes {
			out[i] = stored[n]
		}
		return out, nil
	})
	hashes, err := tlog.ProveRecord(tree.Size(), int64(index), reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := fixtureKeys(t, fixtureOrigin)
	c := Checkpoint{fixtureOrigin, tree.Size(), tree.Root()}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return Proof{Index: int64(index), Hashes: hashes, Checkpoint: signed}
}

func TestProofOfEveryRecord(t *testing.T) {
	lines := fixtureFiles(t, fixtureRecords(t)).lines()
	_, key := fixtureKeys(t, fixtureOrigin)
	for i, line := range lines {
		for _, extra := range [][]byte{nil, line} {
			p := fixtureProof(t, lines, i)
			p.Extra = extra
			back, err := ParseProof(p.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if c, err := back.Check(line, key); err != nil || c.Size != int64(len(lines)) {
				t.Errorf("record %d: %+v, %v", i, c, err)
			}
		}
	}
}

func TestProofOfAnotherRecordIsRefused(t *testing.T) {
	lines := fixtureFiles(t, fixtureRecords(t)).lines()
	_, key := fixtureKeys(t, fixtureOrigin)
	_, other := fixtureKeys(t, "carrel.local/log/other")
	p := fixtureProof(t, lines, 2)
	for name, alter := range map[string]func(p *Proof) (record []byte, key string){
		"another record":      func(p *Proof) ([]byte, string) { return lines[3], key },
		"another index":       func(p *Proof) ([]byte, string) { p.Index = 3; return lines[2], key },
		"an index at the end": func(p *Proof) ([]byte, string) { p.Index = int64(len(lines)); return lines[2], key },
		"a hash less":         func(p *Proof) ([]byte, string) { p.Hashes = p.Hashes[1:]; return lines[2], key },
		"a hash more":         func(p *Proof) ([]byte, string) { p.Hashes = append(p.Hashes, tlog.Hash{}); return lines[2], key },
		"another key":         func(p *Proof) ([]byte, string) { return lines[2], other },
		"other extra data":    func(p *Proof) ([]byte, string) { p.Extra = lines[3]; return lines[2], key },
		"no checkpoint":       func(p *Proof) ([]byte, string) { p.Checkpoint = nil; return lines[2], key },
	} {
		altered := Proof{p.Extra, p.Index, append([]tlog.Hash(nil), p.Hashes...), p.Checkpoint}
		record, key := alter(&altered)
		if c, err := altered.Check(record, key); err == nil {
			t.Errorf("%s: proved by %+v", name, c)
		}
	}
}

// Each bit of a proof counts.
func TestProofWithAnyBitFlippedIsRefused(t *testing.T) {
	lines := fixtureFiles(t, fixtureRecords(t)).lines()
	_, key := fixtureKeys(t, fixtureOrigin)
	p := fixtureProof(t, lines, 2)
	p.Extra = lines[2]
	raw := p.Bytes()
	for i := range len(raw) * 8 {
		flipped := bytes.Clone(raw)
		flipped[i/8] ^= 1 << (i % 8)
		back, err := ParseProof(flipped)
		if err != nil {
			continue
		}
		if _, err := back.Check(lines[2], key); err == nil {
			t.Fatalf("bit %d of byte %d (%q) flipped, and it is still a proof", i%8, i/8, raw[i/8])
		}
	}
}

func TestParseProofIsStrict(t *testing.T) {
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
	good := "c2sp.org/tlog-proof@v1\nextra AA==\nindex 5\n" + hash + "\n\no\n6\n" + rootText + "\n\n"
	if _, err := ParseProof([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"nothing":               "",
		"another version":       strings.Replace(good, "@v1", "@v2", 1),
		"carriage returns":      strings.ReplaceAll(good, "\n", "\r\n"),
		"a leading zero":        strings.Replace(good, "index 5", "index 05", 1),
		"a plus":                strings.Replace(good, "index 5", "index +5", 1),
		"a negative index":      strings.Replace(good, "index 5", "index -5", 1),
		"no index":              strings.Replace(good, "index 5\n", "", 1),
		"two indexes":           strings.Replace(good, "index 5\n", "index 5\nindex 5\n", 1),
		"the index first":       strings.Replace(good, "extra AA==\nindex 5\n", "index 5\nextra AA==\n", 1),
		"two extras":            strings.Replace(good, "extra AA==\n", "extra AA==\nextra AA==\n", 1),
		"an empty extra":        strings.Replace(good, "extra AA==\n", "extra \n", 1),
		"an extra in URL style": strings.Replace(good, "extra AA==", "extra __==", 1),
		"stray bits":            strings.Replace(good, "extra AA==", "extra AB==", 1),
		"a short hash":          strings.Replace(good, hash, hash[:40], 1),
		"no empty line":         strings.Replace(good, "\n\n", "\n", 1),
		"too many hashes":       strings.Replace(good, hash, strings.Repeat(hash+"\n", maxProofHashes)+hash, 1),
		"far too long":          good + strings.Repeat("x", maxProof),
	} {
		if p, err := ParseProof([]byte(raw)); err == nil {
			t.Errorf("%s: read as %+v", name, p)
		}
	}
}

func FuzzProof(f *testing.F) {
	lines := fixtureFiles(f, fixtureRecords(f)).lines()
	p := fixtureProof(f, lines, 1)
	f.Add(p.Bytes())
	p.Extra = lines[1]
	f.Add(p.Bytes())
	f.Add(fmt.Appendf(nil, "%sindex 0\n\n", proofHeader))
	_, key := fixtureKeys(f, fixtureOrigin)
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParseProof(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Bytes(), raw) {
			t.Fatalf("%q was accepted and is written as %q", raw, p.Bytes())
		}
		_, _ = p.Check(p.Extra, key) // must not panic
	})
}
