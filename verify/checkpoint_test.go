package verify

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
)

const rootText = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" // SHA-256 of nothing

func TestParseCheckpointIsStrict(t *testing.T) {
	good := "carrel.local/log/x\n0\n" + rootText + "\n"
	if c, err := ParseCheckpoint(good); err != nil || c.Text() != good || c.Root != EmptyRoot {
		t.Fatalf("%+v, %v", c, err)
	}
	other := strings.Replace(rootText, "4", "5", 1)
	for name, text := range map[string]string{
		"nothing":                       "",
		"no newline at the end":         strings.TrimSuffix(good, "\n"),
		"an extension line":             good + "extra\n",
		"an empty line":                 good + "\n",
		"carriage returns":              strings.ReplaceAll(good, "\n", "\r\n"),
		"a leading zero":                "o\n00\n" + rootText + "\n",
		"a leading zero of five":        "o\n05\n" + rootText + "\n",
		"a plus":                        "o\n+5\n" + rootText + "\n",
		"a negative size":               "o\n-1\n" + rootText + "\n",
		"a size with a space":           "o\n 5\n" + rootText + "\n",
		"a size over 53 bits":           "o\n9007199254740992\n" + rootText + "\n",
		"a size over 64 bits":           "o\n99999999999999999999\n" + rootText + "\n",
		"a size in hex":                 "o\n0x5\n" + rootText + "\n",
		"no size":                       "o\n\n" + rootText + "\n",
		"size 0 with a root":            "o\n0\n" + other + "\n",
		"no origin":                     "\n5\n" + rootText + "\n",
		"an origin with a space around": " o\n5\n" + rootText + "\n",
		"a short root":                  "o\n5\n" + rootText[:40] + "\n",
		"a root in hex":                 "o\n5\n" + strings.Repeat("ab", 32) + "\n",
		"a root in URL base64":          "o\n5\n" + strings.NewReplacer("+", "-", "/", "_").Replace(rootText) + "\n",
		"a root without padding":        "o\n5\n" + strings.TrimSuffix(rootText, "=") + "\n",
		"a root with stray bits":        "o\n5\n" + strings.Replace(rootText, "FU=", "FV=", 1) + "\n",
		"a root with a space":           "o\n5\n" + rootText + " \n",
		"only two lines":                "o\n5\n",
	} {
		if c, err := ParseCheckpoint(text); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}

func TestOpenCheckpointChecksTheSignature(t *testing.T) {
	signer, key := fixtureKeys(t, fixtureOrigin)
	otherSigner, otherKey := fixtureKeys(t, "carrel.local/log/other")
	c := Checkpoint{fixtureOrigin, 5, tlog.Hash{1}}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenCheckpoint(signed, key); err != nil || got != c {
		t.Fatalf("%+v, %v", got, err)
	}
	both, err := note.Sign(&note.Note{Text: c.Text()}, otherSigner, signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(both, key); err != nil {
		t.Errorf("with a signature by somebody else: %v", err)
	}
	foreign, err := note.Sign(&note.Note{Text: c.Text()}, otherSigner)
	if err != nil {
		t.Fatal(err)
	}
	text := string(signed)
	sigAt := strings.LastIndex(text, " ") + 1
	for name, in := range map[string]struct {
		signed string
		key    string
	}{
		"the wrong key":         {text, otherKey},
		"no key":                {text, ""},
		"a foreign signature":   {string(foreign), key},
		"our name, other key":   {strings.Replace(string(foreign), "— carrel.local/log/other", "— "+fixtureOrigin, 1), key},
		"another origin":        {string(foreign), otherKey},
		"a damaged signature":   {text[:sigAt+20] + flip(text[sigAt+20:sigAt+21]) + text[sigAt+21:], key},
		"one bad and one good":  {text + text[strings.Index(text, "—"):sigAt+20] + flip(text[sigAt+20:sigAt+21]) + text[sigAt+21:], key},
		"no signature":          {c.Text() + "\n", key},
		"no empty line":         {c.Text(), key},
		"an edited size":        {strings.Replace(text, "\n5\n", "\n6\n", 1), key},
		"carriage returns":      {strings.ReplaceAll(text, "\n", "\r\n"), key},
		"no newline at the end": {strings.TrimSuffix(text, "\n"), key},
		"far too long":          {text + strings.Repeat("x", maxCheckpoint), key},
	} {
		got, err := OpenCheckpoint([]byte(in.signed), in.key)
		if err == nil {
			t.Errorf("%s: opened as %+v", name, got)
		}
	}
}

func flip(s string) string {
	if s == "A" {
		return "B"
	}
	return "A"
}

func TestRecordAcceptsOnlyWhatALogWrites(t *testing.T) {
	lines := fixtureFiles(t, fixtureRecords(t)).lines()
	for _, line := range lines {
		if _, err := Record(line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	good := string(lines[0])
	for name, line := range map[string]string{
		"nothing":            "",
		"null":               "null",
		"an array":           "[]",
		"white space":        strings.Replace(good, ":", ": ", 1),
		"a space at the end": good + " ",
		"two values":         good + good,
		"an unknown member":  strings.Replace(good, `"boot_us"`, `"a":1,"boot_us"`, 1),
		"another order":      strings.Replace(good, `"v":1}`, `"a":1}`, 1),
		"a member twice":     strings.Replace(good, `"v":1`, `"v":1,"v":1`, 1),
		"another case":       strings.Replace(good, `"v":1`, `"V":1`, 1),
		"an escape":          strings.Replace(good, "created", `\u0063reated`, 1),
		"a time zone":        strings.Replace(good, `Z"`, `+00:00"`, 1),
		"an empty member":    strings.Replace(good, `"v":1`, `"repeats":0,"v":1`, 1),
		"an exponent":        strings.Replace(good, `"v":1`, `"v":1e0`, 1),
		"version 2":          strings.Replace(good, `"v":1`, `"v":2`, 1),
		"no id":              strings.Replace(good, `"id":"rec_`, `"id":"xec_`, 1),
		"a lone surrogate":   strings.Replace(good, "created", `\ud800`, 1),
		"too long":           strings.Replace(good, "created", strings.Repeat("x", MaxRecord), 1),
		"too deep":           strings.Repeat(`{"action":`, 20_000) + strings.Repeat("}", 20_000),
	} {
		if r, err := Record([]byte(line)); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
}

func TestCheckRecordOfEachKind(t *testing.T) {
	base := carrel.Record{Version: 1, ID: fixtureID(1), Time: time.Unix(1, 0).UTC()}
	for _, kind := range []carrel.RecordKind{carrel.KindRunStart, carrel.KindRunEnd, carrel.KindRefused, carrel.KindIntent, carrel.KindResult, carrel.KindApproval, carrel.KindChange, "", "event"} {
		r := base
		r.Kind = kind
		if err := CheckRecord(&r); err == nil {
			t.Errorf("an empty %q record is accepted", kind)
		}
	}
	for _, kind := range []carrel.RecordKind{carrel.KindObservation, carrel.KindLog} {
		r := base
		r.Kind = kind
		if err := CheckRecord(&r); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestTreeAgreesWithTlog(t *testing.T) {
	var tree Tree
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, n := range indexes {
			out[i] = stored[n]
		}
		return out, nil
	})
	for n := range int64(130) {
		if n > 0 {
			want, err := tlog.TreeHash(n, reader)
			at, err2 := TreeAt(n, reader)
			if err != nil || err2 != nil || tree.Root() != want || at.Root() != want {
				t.Fatalf("root of %d differs from tlog's", n)
			}
		}
		if got := tlog.StoredHashCount(n); got != int64(len(stored)) {
			t.Fatalf("%d stored hashes at %d, want %d", len(stored), n, got)
		}
		stored = tree.Append(tlog.RecordHash([]byte{byte(n)}), stored)
	}
	if _, err := NewTree(3, []tlog.Hash{{}}); err == nil {
		t.Error("a tree of three records with one peak")
	}
	if _, err := TreeAt(4, tlog.HashReaderFunc(func([]int64) ([]tlog.Hash, error) { return nil, errors.New("gone") })); err == nil {
		t.Error("a tree without its hashes")
	}
}

func rootOf(lines [][]byte) tlog.Hash {
	var tree Tree
	for _, line := range lines {
		tree.Append(tlog.RecordHash(line), nil)
	}
	return tree.Root()
}

func FuzzRecord(f *testing.F) {
	for _, line := range fixtureFiles(f, fixtureRecords(f)).lines() {
		f.Add(line)
	}
	f.Add([]byte(`{"v":1,"note":{"base64":"/w=="}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := Record(line)
		if err != nil {
			return
		}
		again, err := carrel.Canonical(r)
		if err != nil || string(again) != string(line) {
			t.Fatalf("%q was accepted and is written as %q, %v", line, again, err)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(string(fixtureFiles(f, fixtureRecords(f))[CheckpointFile]))
	f.Add("o\n5\n" + rootText + "\n")
	_, key := fixtureKeys(f, fixtureOrigin)
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCheckpoint(text); err == nil && c.Text() != text {
			t.Fatalf("%q was accepted and is written as %q", text, c.Text())
		}
		_, _ = OpenCheckpoint([]byte(text), key) // must not panic
	})
}

func FuzzLog(f *testing.F) {
	files := fixtureFiles(f, fixtureRecords(f))
	f.Add(files[SegmentName(0)], files[CheckpointFile], files[HashesFile], files[IndexFile])
	f.Add([]byte("{}\n"), []byte{}, []byte{}, []byte{})
	f.Add([]byte("\x00\x00"), []byte("x"), []byte("y"), []byte("z"))
	_, key := fixtureKeys(f, fixtureOrigin)
	f.Fuzz(func(t *testing.T, segment, checkpoint, hashes, index []byte) {
		dir := t.TempDir()
		fixture{SegmentName(0): segment, CheckpointFile: checkpoint, HashesFile: hashes, IndexFile: index}.write(t, dir)
		r, err := Log(context.Background(), dir, key, Options{})
		if err == nil && r.Size != r.Checked {
			t.Fatalf("%+v", r)
		}
	})
}
