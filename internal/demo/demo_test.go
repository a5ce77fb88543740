package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// noWalls stands in for carrel and protects from nothing: the agent runs in
// the real tree, and whatever it did is committed.
const noWalls = `#!/bin/sh
case $1 in
run)
	trap '' TERM
	while [ "$1" != -- ]; do shift; done
	shift
	"$@" ;;
apply)
	git checkout -q -b carrel/demo && git add -A && git commit -q --no-verify -m all ;;
esac
`

func runWith(t *testing.T, self string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "carrel")
	if err := os.WriteFile(path, []byte(self), 0o755); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	err := Run(context.Background(), Options{Self: path, Stdout: &out, Stderr: &errs})
	return out.String(), err
}

// The demo would be worth nothing if it praised walls that are not there.
func TestDemoSeesThatNothingHeld(t *testing.T) {
	out, err := runWith(t, noWalls)
	if !errors.Is(err, errOpen) {
		t.Fatalf("error %v, want %v\n%s", err, errOpen, out)
	}
	for _, want := range []string{
		"GOT IN   read ~/.ssh/id_ed25519",
		"GOT IN   signal the supervisor",
		"GOT IN   read the supervisor's memory",
		"OPEN     the private key was not seen inside",
		"OPEN     no hook was planted in the real repository",
		"OPEN     the CI workflow is as it was",
		"held     the test is on the branch",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

func TestDemoStopsWhereCarrelFails(t *testing.T) {
	out, err := runWith(t, "#!/bin/sh\nexit 125\n")
	if err == nil || !strings.Contains(err.Error(), "carrel run") {
		t.Errorf("error %v\n%s", err, out)
	}
}

func TestDemoLeavesNothingBehind(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	_, _ = runWith(t, noWalls)
	left, err := filepath.Glob(filepath.Join(tmp, "carrel-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind %v (%v)", left, err)
	}
}

func TestDemoNamesAnAgentItDoesNotKnow(t *testing.T) {
	err := Run(context.Background(), Options{Agent: "nobody"})
	if err == nil || !strings.Contains(err.Error(), "--agent claude") {
		t.Errorf("error %v", err)
	}
	err = Run(context.Background(), Options{Agent: "claude", Path: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "make demo-claude") {
		t.Errorf("error %v", err)
	}
}

func TestWatcherReadsTriesAcrossWrites(t *testing.T) {
	var out bytes.Buffer
	w := &watcher{say: speaker{out: &out}}
	for _, part := range []string{"refu", "sed  read it: No such file\nGOT", " IN   signal it\nplain\nlast"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	w.flush()
	want := []attempt{{"refused to read it", true}, {"refused to signal it", false}}
	if len(w.tries) != 2 || w.tries[0] != want[0] || w.tries[1] != want[1] {
		t.Errorf("tries %v", w.tries)
	}
	if !strings.Contains(out.String(), "plain\n") || !strings.Contains(out.String(), "last\n") || !w.saw("last") {
		t.Errorf("output %q", out.String())
	}
}
