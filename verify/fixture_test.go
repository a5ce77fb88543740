package verify

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
)

var update = flag.Bool("verify.update", false, "write the vectors anew")

const (
	fixtureOrigin = "carrel.local/log/vectors"
	fixtureRun    = carrel.RunID("run_01jd3m0000000000000000000g")
	otherRun      = carrel.RunID("run_01jd3m00000000000000000010")
)

// fixtureKeys returns a key pair made from a fixed seed: only tests know logs
// signed by it.
func fixtureKeys(t testing.TB, origin string) (note.Signer, string) {
	t.Helper()
	return seededKeys(t, origin, 7)
}

func seededKeys(t testing.TB, origin string, seed byte) (note.Signer, string) {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	public, err := note.NewEd25519VerifierKey(origin, private.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", origin, v.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{1}, private.Seed()...)))
	s, err := note.NewSigner(text)
	if err != nil {
		t.Fatal(err)
	}
	return s, public
}

func fixtureID(n int) carrel.RecordID {
	return carrel.RecordID(fmt.Sprintf("rec_01jd3m00000000000000000%02d0", n))
}

// fixtureRecords is a small log: a run with an action that was done, one that
// was refused, one nobody knows the end of, and a record of another process.
func fixtureRecords(t testing.TB) []carrel.Record {
	t.Helper()
	connect := carrel.Action{ID: "act_01jd3m0000000000000000000g", Run: fixtureRun, Operation: carrel.OpConnect, Host: "api.example.test", Port: 443, Protocol: carrel.ProtoTLS}
	read := carrel.Action{ID: "act_01jd3m00000000000000000010", Run: fixtureRun, Operation: carrel.OpRead, Path: "/home/u/.ssh/id_ed25519", RawPath: "/workspace/../home/u/.ssh/id_ed25519"}
	exec := carrel.Action{ID: "act_01jd3m0000000000000000001g", Run: fixtureRun, Operation: carrel.OpExec, Argv: []carrel.Text{"sh", "\xff\x00", "a\nb\u2028\u202e"}}
	digest := func(a carrel.Action) carrel.Digest {
		d, err := a.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	allow := &carrel.Decision{Verdict: carrel.Allow, Rules: []string{"user/egress"}}
	records := []carrel.Record{
		{Kind: carrel.KindLog, Note: "created"},
		{Kind: carrel.KindRunStart, Run: fixtureRun, RunSeq: 1, RunInfo: &carrel.RunInfo{Agent: "any", Command: []carrel.Text{"sh"}}},
		{Kind: carrel.KindIntent, Run: fixtureRun, RunSeq: 2, Action: &connect, ActionDigest: digest(connect), Decision: allow},
		{Kind: carrel.KindObservation, Run: otherRun, Note: "from a process that did not start the run"},
		{Kind: carrel.KindResult, Run: fixtureRun, RunSeq: 3, Action: &carrel.Action{ID: connect.ID, Run: fixtureRun, Operation: carrel.OpConnect}, ActionDigest: digest(connect), Outcome: &carrel.Outcome{Status: carrel.OutcomeDone, Counts: map[string]int64{"bytes_out": 517}}},
		{Kind: carrel.KindRefused, Run: fixtureRun, RunSeq: 4, Action: &read, ActionDigest: digest(read), Decision: &carrel.Decision{Verdict: carrel.Deny, Rules: []string{"floor/secrets"}, Reason: "keys stay outside"}, Repeats: 3},
		{Kind: carrel.KindIntent, Run: fixtureRun, RunSeq: 5, Action: &exec, ActionDigest: digest(exec), Decision: allow},
		{Kind: carrel.KindRunEnd, Run: fixtureRun, RunSeq: 6, RunInfo: &carrel.RunInfo{Records: 6}},
		{Kind: carrel.KindObservation, Note: "not signed yet"},
	}
	for i := range records {
		records[i].Version = carrel.RecordVersion
		records[i].ID = fixtureID(i)
		records[i].Time = time.Date(2026, 1, 2, 3, 4, 5, i*1000, time.UTC)
		records[i].Boot = int64(i)
	}
	return records
}

// fixture is a log as files by name.
type fixture map[string][]byte

// fixtureFiles makes the log of the given records in two segments; the
// checkpoint covers all but the last.
func fixtureFiles(t testing.TB, records []carrel.Record) fixture {
	t.Helper()
	var lines [][]byte
	for _, r := range records {
		b, err := carrel.Canonical(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, b)
	}
	return fixtureOf(t, lines, func(i int) carrel.RunID { return records[i].Run })
}

func fixtureOf(t testing.TB, lines [][]byte, runOf func(int) carrel.RunID) fixture {
	t.Helper()
	signer, _ := fixtureKeys(t, fixtureOrigin)
	out := fixture{}
	split := len(lines) / 2
	var tree Tree
	segment := SegmentName(0)
	for i, line := range lines {
		if i == split {
			segment = SegmentName(int64(split))
		}
		if i == len(lines)-1 {
			signed, err := note.Sign(&note.Note{Text: Checkpoint{fixtureOrigin, tree.Size(), tree.Root()}.Text()}, signer)
			if err != nil {
				t.Fatal(err)
			}
			out[CheckpointFile] = signed
		}
		for _, h := range tree.Append(tlog.RecordHash(line), nil) {
			out[HashesFile] = append(out[HashesFile], h[:]...)
		}
		key := RunKey(runOf(i))
		out[IndexFile] = append(binary.BigEndian.AppendUint64(out[IndexFile], uint64(len(out[segment]))), key[:]...)
		out[segment] = append(append(out[segment], line...), '\n')
	}
	return out
}

func (f fixture) clone() fixture {
	out := fixture{}
	for name, b := range f {
		out[name] = bytes.Clone(b)
	}
	return out
}

func (f fixture) write(t testing.TB, dir string) {
	t.Helper()
	for name, b := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The vectors in spec/ are this fixture, so that programs in other languages
// can test against the same bytes.
func TestVectorsAreCurrent(t *testing.T) {
	dir := filepath.Join("..", "spec", "vectors", "log")
	files := fixtureFiles(t, fixtureRecords(t))
	_, key := fixtureKeys(t, fixtureOrigin)
	files["log.vkey"] = []byte(key + "\n")
	var tree Tree
	lines := append(bytes.Split(bytes.TrimSuffix(files[SegmentName(0)], []byte("\n")), []byte("\n")),
		bytes.Split(bytes.TrimSuffix(files[SegmentName(4)], []byte("\n")), []byte("\n"))...)
	var roots bytes.Buffer
	for _, line := range lines {
		leaf := tlog.RecordHash(line)
		tree.Append(leaf, nil)
		root := tree.Root()
		fmt.Fprintf(&roots, "%d %s %s\n", tree.Size(), hex.EncodeToString(leaf[:]), hex.EncodeToString(root[:]))
	}
	files["roots.txt"] = roots.Bytes()
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		files.write(t, dir)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("spec/vectors/log/%s differs from what this release writes (%v)", name, err)
		}
	}
}
