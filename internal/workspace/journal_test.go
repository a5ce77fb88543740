package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/blob"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/needs"

	"github.com/carrel-dev/carrel"
)

// The child half of the crash tests: it applies a change and kills itself at
// the n-th point.
func init() {
	if job := os.Getenv("CARREL_TEST_APPLY"); job != "" {
		applyAndDie(job)
	}
}

// recoverAll recovers every apply, as somebody whom policy lets do so.
func recoverAll(state string) ([]Recovered, error) {
	g, _ := gatetest.AllowAll()
	return RecoverApplies(context.Background(), state, recovery(g, state))
}

// recovery recovers at this gate. The log of these tests is a file for each
// action that is recorded, and finishing makes one for the change.
func recovery(g *gate.Gate, state string) Recovery {
	return Recovery{
		Gate: func() (*gate.Gate, error) { return g, nil },
		Recorded: func(_ context.Context, _ carrel.RunID, a carrel.ActionID) (bool, error) {
			_, err := os.Stat(recordOf(state, a))
			return err == nil, nil
		},
		Finish: func(_ context.Context, _ *gate.Gate, c carrel.ChangeID) error {
			return os.WriteFile(filepath.Join(state, "finished-"+string(c)), nil, 0o600)
		},
	}
}

func recordOf(state string, a carrel.ActionID) string { return filepath.Join(state, "log-"+string(a)) }

type crashJob struct {
	Change       *carrel.Change
	Blobs, State string
	At           int
}

func applyAndDie(file string) {
	var job crashJob
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &job)
	}
	blobs, berr := blob.Open(job.Blobs)
	if err = errors.Join(err, berr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	n := 0
	p, err := planApply(context.Background(), ApplyOptions{Change: job.Change, Blobs: blobs, State: job.State, at: func(string) error {
		if n++; n > job.At {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
		return nil
	}})
	if err == nil {
		err = applyAndRecord(p, job.State)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func applyAndRecord(p *applyPlan, state string) error {
	action := carrel.NewActionID()
	j, err := p.carryOut(context.Background(), action)
	if err == nil {
		err = p.point("unrecorded")
	}
	if err == nil {
		err = os.WriteFile(recordOf(state, action), nil, 0o600)
	}
	if err == nil {
		err = p.point("recorded")
	}
	if err != nil {
		return err
	}
	lock, err := lockApplies(state, string(p.opts.Change.Workspace))
	if err != nil {
		return err
	}
	a := &TreeApply{j, p.tree, lock}
	a.Recorded()
	return errors.Join(p.point("cleared"), a.End())
}

// crash applies in a child that is killed at the n-th point; it reports
// whether it got that far.
func (b *applyBench) crash(c *carrel.Change, n int) bool {
	b.t.Helper()
	raw, err := json.Marshal(crashJob{c, filepath.Join(filepath.Dir(b.root), "blobs"), b.state, n})
	if err != nil {
		b.t.Fatal(err)
	}
	job := filepath.Join(b.t.TempDir(), "job")
	if err := os.WriteFile(job, raw, 0o600); err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CARREL_TEST_APPLY="+job)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		b.t.Fatalf("child: %v\n%s", err, out)
	}
	return false
}

// I169: killed at any point, an apply is taken back, or finished, by the next
// command, and can then be made again.
func TestKilledApplyIsAllOrNothing(t *testing.T) {
	finished := 0
	for n := 0; ; n++ {
		b := newApplyBench(t, everyKind).wantEveryKind()
		c := b.change()
		if !b.crash(c, n) {
			if n < 30 { // a point for each file staged and each step made
				t.Errorf("only %d points", n)
			}
			if finished != 2 {
				t.Errorf("finished at %d points, want those after it was recorded", finished)
			}
			b.expect(everyKindDone)
			return
		}
		done, err := recoverAll(b.state)
		if err != nil || len(done) != 1 || done[0].Kept != nil || done[0].Change != c.ID {
			t.Fatalf("point %d: %+v, %v", n, done, err)
		}
		want := everyKind
		if done[0].Finished {
			want = everyKindDone
			finished++
		}
		if _, err := os.Stat(filepath.Join(b.state, "finished-"+string(c.ID))); (err == nil) != done[0].Finished {
			t.Errorf("what follows was done: %v", err)
		}
		if left, err := readJournals(b.state); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		b.expect(want)
		if t.Failed() {
			t.Fatalf("at point %d", n)
		}
		if n%7 == 0 { // and again, whole
			if _, err := b.apply(b.options(c)); err != nil && !done[0].Finished {
				var conflict *ConflictError
				if !errors.As(err, &conflict) { // what was put back has a new ctime
					t.Fatalf("point %d, again: %v", n, err)
				}
			}
		}
	}
}

// What was carried out and could not be recorded is taken back by the next
// command, with what was replaced; nothing is applied over it before.
func TestUnrecordedApplyIsTakenBack(t *testing.T) {
	b := newApplyBench(t, everyKind).wantEveryKind()
	c := b.change()
	a, err := PublishAction(c, carrel.TargetTree, false)
	if err != nil {
		t.Fatal(err)
	}
	var done Applied
	open, _ := gatetest.AllowAll()
	if _, err := open.Do(context.Background(), a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		done, err = Apply(ctx, grant, a, b.options(c))
		return carrel.Outcome{}, err
	}); err != nil {
		t.Fatal(err)
	}
	if left, err := recoverAll(b.state); len(left) > 0 || err != nil {
		t.Fatalf("recovered while under way: %v, %v", left, err)
	}
	if err := done.Journal.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.apply(b.options(b.change())); !errors.Is(err, ErrInterrupted) {
		t.Errorf("applying over it: %v", err)
	}
	left, err := recoverAll(b.state)
	if err != nil || len(left) != 1 || left[0].Finished || left[0].Kept != nil {
		t.Fatal(left, err)
	}
	b.expect(everyKind)
}

// Whether it is recorded must be known: in doubt it waits.
func TestRecoveryWaitsForTheLog(t *testing.T) {
	b := newApplyBench(t, everyKind).wantEveryKind()
	c := b.change()
	n := 34
	for ; b.crash(c, n); n++ {
		journals, err := readJournals(b.state)
		if err != nil || len(journals) != 1 {
			t.Fatal(journals, err)
		}
		if journals[0].Phase == phaseDone {
			break
		}
		if _, err := recoverAll(b.state); err != nil {
			t.Fatal(err)
		}
		b = newApplyBench(t, everyKind).wantEveryKind()
		c = b.change()
	}
	g, _ := gatetest.AllowAll()
	how := recovery(g, b.state)
	how.Recorded = func(context.Context, carrel.RunID, carrel.ActionID) (bool, error) { return false, unix.EIO }
	if done, err := RecoverApplies(context.Background(), b.state, how); !errors.Is(err, unix.EIO) || len(done) > 0 {
		t.Fatal(done, err)
	}
	done, err := recoverAll(b.state)
	if err != nil || len(done) != 1 || done[0].Finished {
		t.Fatal(done, err)
	}
	b.expect(everyKind)
}

// Recovery itself may be killed.
func TestRecoveryCanBeInterrupted(t *testing.T) {
	b := newApplyBench(t, everyKind).wantEveryKind()
	c := b.change()
	if !b.crash(c, 34) {
		t.Fatal("the apply ended")
	}
	journals, err := readJournals(b.state)
	if err != nil || len(journals) != 1 || journals[0].Phase != phaseSwapping {
		t.Fatal(journals, err)
	}
	j := journals[0]
	tree, err := openApplyTree(b.root)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := j.openWork(tree, ""); err != nil {
		t.Fatal(err)
	}
	for i := len(j.Steps) - 1; i > len(j.Steps)/2; i-- { // half of it
		if _, err := j.undo(tree, &j.Steps[i]); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := recoverAll(b.state); err != nil || len(done) != 1 || done[0].Kept != nil {
		t.Fatal(done, err)
	}
	b.expect(everyKind)
}

// What the user altered between the crash and the recovery stays, and what it
// had replaced is kept.
func TestRecoveryKeepsWhatTheUserAltered(t *testing.T) {
	b := newApplyBench(t, map[string]string{"a": "old", "b": "old", "z": "old"}).want("a", "new").want("b", "new").want("n/in", "new").want("m", "new").want("z", "new")
	n := 0
	for ; b.tree()["n/in"] == ""; n++ { // until everything but z is swapped
		b = newApplyBench(t, map[string]string{"a": "old", "b": "old", "z": "old"}).want("a", "new").want("b", "new").want("n/in", "new").want("m", "new").want("z", "new")
		if !b.crash(b.change(), n) {
			t.Fatal("the apply ended")
		}
	}
	b.lay("a", "edited after the crash")
	b.lay("n/mine", "mine")
	b.lay("m", "edited")
	done, err := recoverAll(b.state)
	var kept *KeptError
	if err != nil || len(done) != 1 || !errors.As(done[0].Kept, &kept) {
		t.Fatal(done, err)
	}
	got := b.tree()
	for name, want := range map[string]string{"a": "edited after the crash", "b": "old", "z": "old", "m": "edited", "n/in": "new", "n/mine": "mine"} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	var old bool
	for name, content := range got {
		old = old || strings.HasPrefix(name, workPrefix) && content == "old"
	}
	if !old || !strings.HasPrefix(kept.Dir, b.root) {
		t.Errorf("what was replaced is not kept: %v in %v", kept, got)
	}
}

// Recovery that dies after it moved the user's work out of the tree does not
// take that for its own the next time.
func TestRecoveryKeepsWhatItHadMovedAside(t *testing.T) {
	lay := func() *applyBench {
		return newApplyBench(t, map[string]string{"a": "old", "z": "old"}).want("a", "new").want("m", "new").want("z", "new")
	}
	b := lay()
	for n := 0; b.tree()["m"] == ""; n++ { // until everything but z is swapped
		b = lay()
		if !b.crash(b.change(), n) {
			t.Fatal("the apply ended")
		}
	}
	journals, err := readJournals(b.state)
	if err != nil || len(journals) != 1 {
		t.Fatal(journals, err)
	}
	work := filepath.Join(b.root, journals[0].Work)
	for i := range journals[0].Steps {
		s := &journals[0].Steps[i]
		in, at := filepath.Join(work, s.Work), filepath.Join(b.root, string(s.Path))
		switch s.Path {
		case "a":
			b.lay("a", "mine")
			err = unix.Renameat2(unix.AT_FDCWD, in, unix.AT_FDCWD, at, unix.RENAME_EXCHANGE)
		case "m":
			b.lay("m", "mine")
			err = os.Rename(at, in)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	done, err := recoverAll(b.state)
	var kept *KeptError
	if err != nil || len(done) != 1 || !errors.As(done[0].Kept, &kept) || len(kept.Paths) != 2 {
		t.Fatal(done, err)
	}
	for name, want := range map[string]string{"a": "mine", "m": "mine", "z": "old"} {
		if got := b.tree()[name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A work directory that somebody else made in place of ours is not believed.
func TestAttackPlantedWorkDirectory(t *testing.T) {
	needs.Root(t)
	b := newApplyBench(t, everyKind).wantEveryKind()
	if !b.crash(b.change(), 34) {
		t.Fatal("the apply ended")
	}
	journals, err := readJournals(b.state)
	if err != nil || len(journals) != 1 {
		t.Fatal(journals, err)
	}
	work := filepath.Join(b.root, journals[0].Work)
	if err := os.Chown(work, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if done, err := recoverAll(b.state); err == nil || !strings.Contains(err.Error(), "not the directory that was made") {
		t.Fatal(done, err)
	}
	if err := os.Chown(work, 0, 0); err != nil {
		t.Fatal(err)
	}
	if done, err := recoverAll(b.state); err != nil || len(done) != 1 || done[0].Kept != nil {
		t.Fatal(done, err)
	}
	b.expect(everyKind)
}

// Another directory in the workspace's place is not touched, and the half-made
// apply is not forgotten over it.
func TestRecoveryWaitsForItsOwnDirectory(t *testing.T) {
	b := newApplyBench(t, everyKind).wantEveryKind()
	if !b.crash(b.change(), 34) {
		t.Fatal("the apply ended")
	}
	away := b.root + ".away"
	if err := errors.Join(os.Rename(b.root, away), os.Mkdir(b.root, 0o755)); err != nil {
		t.Fatal(err)
	}
	if done, err := recoverAll(b.state); err == nil || !strings.Contains(err.Error(), "another directory") {
		t.Fatal(done, err)
	}
	if err := errors.Join(os.Remove(b.root), os.Rename(away, b.root)); err != nil {
		t.Fatal(err)
	}
	if done, err := recoverAll(b.state); err != nil || len(done) != 1 || done[0].Kept != nil {
		t.Fatal(done, err)
	}
	b.expect(everyKind)
}

// An error at any point leaves the tree as it was.
func TestFailedApplyIsRolledBack(t *testing.T) {
	for n := 0; ; n++ {
		b := newApplyBench(t, everyKind).wantEveryKind()
		o, i := b.options(b.change()), 0
		failure := fmt.Errorf("point %d: %w", n, unix.ENOSPC)
		o.at = func(string) error {
			if i++; i > n {
				return failure
			}
			return nil
		}
		_, err := b.apply(o)
		if err == nil {
			b.expect(everyKindDone)
			return
		}
		if !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "taking back") {
			t.Fatal(err)
		}
		if b.expect(everyKind); t.Failed() {
			t.Fatalf("at point %d", n)
		}
	}
}

// What the user does while the apply is at work is found when it is displaced.
func TestUserEditsDuringTheApply(t *testing.T) {
	for name, edit := range map[string]func(b *applyBench){
		"write":       func(b *applyBench) { b.lay("z", "mine") },
		"same length": func(b *applyBench) { b.lay("z", "OLD") },
		"same length and time": func(b *applyBench) {
			info, err := os.Stat(filepath.Join(b.root, "z"))
			b.lay("z", "OLD")
			if err = errors.Join(err, os.Chtimes(filepath.Join(b.root, "z"), info.ModTime(), info.ModTime())); err != nil {
				b.t.Error(err)
			}
		},
		"create": func(b *applyBench) { b.lay("zz", "mine") },
		"delete": func(b *applyBench) { _ = os.Remove(filepath.Join(b.root, "z")) },
		"mkdir":  func(b *applyBench) { _ = os.Remove(filepath.Join(b.root, "z")); b.lay("z/x", "mine") },
		"fill":   func(b *applyBench) { b.lay("d/x", "mine") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newApplyBench(t, map[string]string{"a": "old", "z": "old", "d/": ""}).want("a", "new").want("z", "new").want("zz", "new").want("d", "")
			o := b.options(b.change())
			var mine map[string]string
			o.at = func(point string) error {
				if point == "step" && mine == nil {
					edit(b)
					mine = b.tree()
					for path := range mine {
						if strings.HasPrefix(path, workPrefix) {
							delete(mine, path)
						}
					}
				}
				return nil
			}
			var conflict *ConflictError
			if _, err := b.apply(o); !errors.As(err, &conflict) {
				t.Errorf("got %v", err)
			}
			b.expect(mine)
		})
	}
}

// An editor that had the file open writes to what was displaced.
func TestWriteToTheDisplacedFileIsNotLost(t *testing.T) {
	b := newApplyBench(t, map[string]string{"a": "old", "z": "old"}).want("a", "new").want("z", "new")
	f, err := os.OpenFile(filepath.Join(b.root, "a"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := b.options(b.change())
	o.at = func(point string) error {
		if point == "swapped" {
			_, err := f.WriteString("mine")
			return err
		}
		return nil
	}
	var conflict *ConflictError
	if _, err := b.apply(o); !errors.As(err, &conflict) {
		t.Errorf("got %v", err)
	}
	b.expect(map[string]string{"a": "mine", "z": "old"})
}

func TestApplyOnAFullDisk(t *testing.T) {
	needs.Root(t)
	b := newApplyBench(t, nil)
	if err := unix.Mount("tmpfs", b.root, "tmpfs", 0, "size=256k"); err != nil {
		needs.Missing(t, "mounting a tmpfs", err)
	}
	defer unix.Unmount(b.root, unix.MNT_DETACH)
	b.lay("a", "old")
	b.lay("d/f", "old")
	b.begin()
	for i := range 20 {
		b.want("big"+strconv.Itoa(i), strings.Repeat(strconv.Itoa(i), 20_000))
	}
	b.want("a", "new").want("d/f", "").want("d", "")
	if _, err := b.apply(b.options(b.change())); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	b.expect(map[string]string{"a": "old", "d/": "", "d/f": "old"})
	for i := range 20 { // the twin: what fits is applied
		delete(b.files, "big"+strconv.Itoa(i))
	}
	if _, err := b.apply(b.options(b.change())); err != nil {
		t.Error(err)
	}
	b.expect(map[string]string{"a": "new"})
}

// withMount is a bench whose workspace has a file system of its own at m/n.
func withMount(t *testing.T) *applyBench {
	t.Helper()
	needs.Root(t)
	b := newApplyBench(t, map[string]string{"m/n/": "", "f": "old"})
	mountAt(t, filepath.Join(b.root, "m/n"), "tmpfs", "size=1m,mode=755")
	for name, content := range map[string]string{"m/n/f": "old", "m/n/gone": "old", "m/n/d/e": "old"} {
		b.lay(name, content)
	}
	b.begin()
	return b.want("f", "new").want("m/n/f", "new").want("m/n/gone", "").want("m/n/new/x", "new").want("m/n/d/e", "").want("m/n/d", "")
}

// A change that reaches into another file system is applied as a whole.
func TestApplyAcrossMounts(t *testing.T) {
	b := withMount(t)
	if _, err := b.apply(b.options(b.change())); err != nil {
		t.Fatal(err)
	}
	b.expect(map[string]string{"f": "new", "m/": "", "m/n/": "", "m/n/f": "new", "m/n/new/": "", "m/n/new/x": "new"})
}

// Killed at any point it is all or nothing on both file systems.
func TestKilledApplyAcrossMounts(t *testing.T) {
	for n := 0; ; n += 3 {
		b := withMount(t)
		before := b.tree()
		c := b.change()
		if !b.crash(c, n) {
			if n < 10 {
				t.Errorf("only %d points", n)
			}
			return
		}
		done, err := recoverAll(b.state)
		if err != nil || len(done) != 1 || done[0].Kept != nil {
			t.Fatalf("point %d: %+v, %v", n, done, err)
		}
		if !done[0].Finished {
			b.expect(before)
		}
		if t.Failed() {
			t.Fatalf("at point %d", n)
		}
	}
}

// What was mounted is gone when the apply is to be taken back: that waits, and
// nothing is forgotten.
func TestRecoveryWaitsForTheMount(t *testing.T) {
	b := withMount(t)
	before, c := b.tree(), b.change()
	n := 0
	for b.crash(c, n); b.tree()["m/n/f"] != "new"; n++ {
		if _, err := recoverAll(b.state); err != nil {
			t.Fatal(err)
		}
		for name := range before { // what was put back counts as moved since
			if !strings.HasSuffix(name, "/") {
				b.lay(name, "old")
			}
		}
		b.begin()
		c = b.change()
		if !b.crash(c, n+1) {
			t.Fatal("the apply ended")
		}
	}
	at, aside := filepath.Join(b.root, "m/n"), t.TempDir()
	if err := errors.Join(unix.Mount(at, aside, "", unix.MS_BIND, ""), unix.Unmount(at, 0)); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(aside, unix.MNT_DETACH)
	if done, err := recoverAll(b.state); err == nil || !strings.Contains(err.Error(), "mount it again") {
		t.Fatal(done, err)
	}
	if err := unix.Mount(aside, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if done, err := recoverAll(b.state); err != nil || len(done) != 1 || done[0].Kept != nil {
		t.Fatal(done, err)
	}
	b.expect(before)
}

// I163: a mount that appears under the apply is not entered.
func TestAttackMountUnderTheApply(t *testing.T) {
	b := withMount(t)
	b.lay("p/f", "old")
	b.begin()
	b.want("p/f", "new")
	o, before := b.options(b.change()), b.tree()
	at, mounted := filepath.Join(b.root, "p"), false
	o.at = func(point string) error {
		if point != "step" || mounted {
			return nil
		}
		mounted = true
		return unix.Mount("tmpfs", at, "tmpfs", 0, "size=64k")
	}
	_, err := b.apply(o)
	names, _ := os.ReadDir(at)
	if uerr := unix.Unmount(at, unix.MNT_DETACH); uerr != nil {
		t.Fatal(uerr)
	}
	var conflict *ConflictError
	if !errors.As(err, &conflict) || len(names) > 0 {
		t.Errorf("got %v; the new mount holds %v", err, names)
	}
	b.expect(before)
}

// A mount that goes while the apply is at work: it goes on in the file system
// that it began with.
func TestMountGoesUnderTheApply(t *testing.T) {
	b := withMount(t)
	at, aside := filepath.Join(b.root, "m/n"), t.TempDir()
	if err := unix.Mount(at, aside, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(aside, unix.MNT_DETACH)
	o, gone := b.options(b.change()), false
	o.at = func(point string) error {
		if point != "step" || gone {
			return nil
		}
		gone = true
		return unix.Unmount(at, unix.MNT_DETACH)
	}
	if _, err := b.apply(o); err != nil {
		t.Fatal(err)
	}
	b.expect(map[string]string{"f": "new", "m/": "", "m/n/": ""})
	if err := unix.Mount(aside, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	b.expect(map[string]string{"f": "new", "m/": "", "m/n/": "", "m/n/f": "new", "m/n/new/": "", "m/n/new/x": "new"})
}

// In a container the workspace may itself be an overlay, where files of the
// lower layer get another inode when they are moved.
func TestApplyOnAnOverlay(t *testing.T) {
	needs.Root(t)
	for _, crash := range []bool{false, true} {
		b := newApplyBench(t, nil)
		layers := t.TempDir()
		var mounts []string
		mount := func(kind, at, data string) {
			if err := unix.Mount(kind, at, kind, 0, data); err != nil {
				needs.Missing(t, "mounting "+kind, err)
			}
			mounts = append(mounts, at)
		}
		t.Cleanup(func() {
			for i := len(mounts) - 1; i >= 0; i-- {
				_ = unix.Unmount(mounts[i], unix.MNT_DETACH)
			}
		})
		for _, name := range []string{"lower", "upper"} {
			if err := os.Mkdir(filepath.Join(layers, name), 0o755); err != nil {
				t.Fatal(err)
			}
			mount("tmpfs", filepath.Join(layers, name), "size=4m")
		}
		real := b.root
		b.root = filepath.Join(layers, "lower")
		for name, content := range everyKind {
			b.lay(name, content)
		}
		b.root = real
		if err := errors.Join(os.Mkdir(layers+"/upper/u", 0o755), os.Mkdir(layers+"/upper/w", 0o755)); err != nil {
			t.Fatal(err)
		}
		mount("overlay", b.root, "lowerdir="+layers+"/lower,upperdir="+layers+"/upper/u,workdir="+layers+"/upper/w")
		b.begin()
		c := b.wantEveryKind().change()
		if crash {
			if !b.crash(c, 34) {
				t.Fatal("the apply ended")
			}
			if done, err := recoverAll(b.state); err != nil || len(done) != 1 || done[0].Kept != nil {
				t.Fatal(done, err)
			}
			b.expect(everyKind)
			continue
		}
		if _, err := b.apply(b.options(c)); err != nil {
			t.Fatal(err)
		}
		b.expect(everyKindDone)
	}
}

// Recovering is an action like any other: what policy denies it leaves alone,
// and nothing is applied over it.
func TestRecoveringIsDecidedAndRecorded(t *testing.T) {
	b := newApplyBench(t, everyKind).wantEveryKind()
	c := b.change()
	if !b.crash(c, 34) {
		t.Fatal("the apply ended")
	}
	left := b.tree()
	closed, refusals := gatetest.DenyAll()
	if _, err := RecoverApplies(context.Background(), b.state, recovery(closed, b.state)); !errors.Is(err, gate.ErrDenied) {
		t.Errorf("denied by policy: %v", err)
	}
	if now := b.tree(); !maps.Equal(now, left) {
		t.Errorf("the tree was altered without a grant: %v, before %v", now, left)
	}
	if got := refusals.Records(); len(got) != 1 || got[0].Action.Operation != carrel.OpRevoke || got[0].Action.Subject != string(c.ID) || got[0].Run != c.Run {
		t.Errorf("recorded: %+v", got)
	}
	if _, err := b.apply(b.options(c)); !errors.Is(err, ErrInterrupted) {
		t.Errorf("applying over it: %v", err)
	}
	open, log := gatetest.AllowAll()
	if _, err := RecoverApplies(context.Background(), b.state, recovery(open, b.state)); err != nil {
		t.Fatal(err)
	}
	b.expect(everyKind)
	got := log.Records()
	if len(got) != 2 || got[0].Kind != carrel.KindIntent || !strings.Contains(string(got[1].Outcome.Facts["recovered"]), "taken back") {
		t.Errorf("recorded: %+v", got)
	}
}

func TestRecoveryKeepsTheContract(t *testing.T) {
	b := newApplyBench(t, everyKind).wantEveryKind()
	if !b.crash(b.change(), 34) {
		t.Fatal("the apply ended")
	}
	journals, err := readJournals(b.state)
	if err != nil || len(journals) != 1 {
		t.Fatal(journals, err)
	}
	j, a := journals[0], journals[0].action()
	gatetest.Contract(t, gatetest.Effect{
		Name: "recovering an apply", Action: a,
		Call: func(_ context.Context, g gate.Grant) error { _, err := j.recover(g, a); return err },
		Happened: func() bool {
			_, err := os.Stat(j.file)
			return errors.Is(err, os.ErrNotExist)
		},
	})
}

func TestRecoverWithNothingToDo(t *testing.T) {
	if done, err := recoverAll(t.TempDir()); err != nil || done != nil {
		t.Error(done, err)
	}
}

func TestRecoverLeavesALiveApplyAlone(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old"}).want("f", "new")
	o := b.options(b.change())
	o.at = func(string) error {
		done, err := recoverAll(b.state)
		if len(done) != 0 {
			return fmt.Errorf("recovered %+v", done)
		}
		return err
	}
	if _, err := b.apply(o); err != nil {
		t.Fatal(err)
	}
	b.expect(map[string]string{"f": "new"})
}
