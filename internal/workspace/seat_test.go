package workspace

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/needs"
)

func (s *site) writeLater(rel, content string) {
	s.t.Helper()
	time.Sleep(20 * time.Millisecond) // past the file system's granularity
	s.write(rel, content)
}

// Unapplied work goes on at the next run; --fresh leaves it where it is.
func TestResume(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("a", "1\n")
		first, c := s.run(`echo 2 >> a; echo n > new`)
		first.Close()
		second := s.take(SeatOptions{})
		if second.ID() != first.ID() || len(second.Notes) == 0 {
			t.Fatalf("the second run sits at %s, not %s (%v)", second.ID(), first.ID(), second.Notes)
		}
		agent(t, second, `test "$(cat a)" = "1
2"; echo 3 >> a; rm new`)
		again := capture(t, second)
		expect(t, again.Files, "modify file a")
		if again.ID == c.ID {
			t.Error("a change that does something else has the same id")
		}
		second.Close()
		fresh := s.take(SeatOptions{Fresh: true})
		if fresh.ID() == first.ID() {
			t.Error("--fresh resumed")
		}
		agent(t, fresh, `test "$(cat a)" = 1`)
		if got := capture(t, fresh); len(got.Files) != 0 {
			t.Errorf("a fresh desk has:\n%s", describe(got.Files))
		}
	})
	needs.AsUser(t, "^TestResume$")
}

// Two runs at one workspace never share a desk, nor see each other's work.
func TestTwoDesks(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("a", "1\n")
		one, two := s.take(SeatOptions{}), s.take(SeatOptions{})
		if one.ID() == two.ID() {
			t.Fatal("two runs share a desk")
		}
		agent(t, one, `echo one > mine; rm a`)
		agent(t, two, `test ! -e mine; test -e a; echo two > mine`)
		expect(t, capture(t, one).Files, "delete none a", "create file mine")
		expect(t, capture(t, two).Files, "create file mine")
		other := s.take(SeatOptions{Agent: "somebody-else"})
		if other.ID() == one.ID() || other.ID() == two.ID() {
			t.Error("another agent resumed the work")
		}
		desks, err := s.ws.Desks()
		if err != nil || len(desks) != 3 || !desks[0].Busy || desks[0].Pending != 2 {
			t.Errorf("desks: %+v, %v", desks, err)
		}
	})
}

// The home is not part of the work: a fresh start keeps it.
func TestFreshKeepsTheHome(t *testing.T) {
	s := newSite(t, StagingOverlay)
	first := s.take(SeatOptions{})
	if err := os.WriteFile(filepath.Join(first.Home(), "login"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, err := os.Stat(filepath.Join(s.take(SeatOptions{Fresh: true}).Home(), "login")); err != nil {
		t.Error(err)
	}
}

// The user goes on editing: what was not touched is seen at the desk, what
// was touched is marked, and nothing the user wrote looks like agent's work.
func TestUserEditsMeanwhile(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		for _, name := range []string{"both", "theirs", "mine", "same", "dropped"} {
			s.write(name, "base\n")
		}
		seat := s.take(SeatOptions{})
		agent(t, seat, `echo agent >> both; echo agent >> mine; touch same; echo agent >> dropped`)
		s.writeLater("both", "user\n")
		s.writeLater("theirs", "user\n")
		s.writeLater("added", "user\n")
		if err := os.Remove(filepath.Join(s.root, "dropped")); err != nil {
			t.Fatal(err)
		}
		c := capture(t, seat)
		lines := []string{"modify file both", "create file dropped", "modify file mine"}
		if s.kind == StagingCopy {
			lines[1] = "modify file dropped" // the copy knows that it was there
		}
		expect(t, c.Files, lines...)
		if f := fileOf(t, c.Files, "both"); !hasLabel(f, "moved") || f.Before.Digest != "" {
			t.Errorf("both: %v, before %+v", f.Labels, f.Before)
		}
		if f := fileOf(t, c.Files, "mine"); hasLabel(f, "moved") || f.Before.Digest == "" {
			t.Errorf("mine: %v, before %+v", f.Labels, f.Before)
		}
		seat.Close()
		s.writeLater("same", "user, between runs\n")
		next := s.take(SeatOptions{})
		agent(t, next, `grep -q user theirs; grep -q user same; grep -q user added`)
		expect(t, capture(t, next).Files, lines...)
	})
	needs.AsUser(t, "^TestUserEditsMeanwhile$")
}

// A user's edit between two runs of one agent is not lost: the base of work
// that was already done stays what it was.
func TestUserEditsBetweenRuns(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("f", "base\n")
		seat, c := s.run(`echo agent >> f`)
		base := fileOf(t, c.Files, "f").Before
		seat.Close()
		s.writeLater("f", "user\n")
		time.Sleep(20 * time.Millisecond)
		_, c = s.run(`echo more > g`)
		f := fileOf(t, c.Files, "f")
		if !hasLabel(f, "moved") || f.Before != base || !f.Stamp.Before(c.Base.Stamp) && s.kind == StagingOverlay {
			t.Errorf("f: %v, before %+v want %+v, stamp %v (run %v)", f.Labels, f.Before, base, f.Stamp, c.Base.Stamp)
		}
		if g := fileOf(t, c.Files, "g"); hasLabel(g, "moved") {
			t.Errorf("g: %v", g.Labels)
		}
	})
}

// After an apply the files leave the layer; withheld ones stay, and later
// edits of the user's are seen at the desk and are nobody's change.
func TestSettle(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("a", "1\n")
		s.write("gone", "1\n")
		s.write("full/x", "1\n")
		seat := s.take(SeatOptions{})
		agent(t, seat, `echo 2 >> a; rm gone; mkdir new; echo n > new/n; echo secret > new/denied; rm -r full; mkdir full; echo y > full/y`)
		deny := func(_ context.Context, a carrel.Action) carrel.Decision {
			if strings.HasSuffix(a.Path, "denied") {
				return carrel.Decision{}
			}
			return carrel.Decision{Verdict: carrel.Allow}
		}
		c := captureWith(t, seat, CaptureOptions{Decide: deny})
		expect(t, c.Files, "modify file a", "delete none full/x", "create file full/y", "delete none gone", "create file new/n")
		s.sh(`echo 2 >> a; rm gone; mkdir new; echo n > new/n; rm full/x; echo y > full/y`) // as an apply does
		if err := seat.Settle(context.Background(), c.Files); err != nil {
			t.Fatal(err)
		}
		seat.Close()
		s.writeLater("new/n", "user\n")
		s.writeLater("a", "user\n")
		time.Sleep(20 * time.Millisecond)
		next := s.take(SeatOptions{})
		agent(t, next, `test "$(cat a new/n full/y new/denied)" = "user
user
y
secret"; test ! -e gone; test ! -e full/x; echo again >> a`)
		c = captureWith(t, next, CaptureOptions{Decide: deny})
		expect(t, c.Files, "modify file a")
		expect(t, c.Withheld, "create file new/denied")
		if hasLabel(c.Files[0], "moved") {
			t.Errorf("a counts as moved: %v", c.Files[0].Labels)
		}
	})
	needs.AsUser(t, "^TestSettle$")
}

// Applied while the run goes on: the agent's next edit is based on that.
func TestSettleWhileRunning(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("a", "1\n")
		seat := s.take(SeatOptions{})
		agent(t, seat, `echo 2 >> a`)
		c := captureWith(t, seat, CaptureOptions{Decide: allowAll, Running: true})
		time.Sleep(20 * time.Millisecond)
		s.sh(`echo 2 >> a`)
		if err := seat.Settle(context.Background(), c.Files); err != nil {
			t.Fatal(err)
		}
		if c := captureWith(t, seat, CaptureOptions{Decide: allowAll, Running: true}); len(c.Files) != 0 {
			t.Errorf("applied, yet still:\n%s", describe(c.Files))
		}
		agent(t, seat, `echo 3 >> a`)
		c = capture(t, seat)
		expect(t, c.Files, "modify file a")
		if hasLabel(c.Files[0], "moved") {
			t.Errorf("Carrel's own apply counts as the user's edit: %v", c.Files[0].Labels)
		}
	})
}

// A crash before the capture loses nothing and forgets no base.
func TestCrashBeforeCapture(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("f", "base\n")
		seat := s.take(SeatOptions{})
		agent(t, seat, `echo agent >> f`)
		seat.Close() // killed: no capture
		s.writeLater("f", "user\n")
		next := s.take(SeatOptions{})
		if next.ID() != seat.ID() || !next.Unfinished() {
			t.Fatal("the work of the killed run is not resumed")
		}
		if f := fileOf(t, capture(t, next).Files, "f"); !hasLabel(f, "moved") {
			t.Errorf("f: %v", f.Labels)
		}
	})
}

// The agent's state of git goes when its work is done; until then it stays.
func TestDeskWithoutWorkStartsAnew(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.sh(`git init -q . && git -c user.name=u -c user.email=u@h commit -q --allow-empty -m one`)
		seat, c := s.run(`git -c user.name=a -c user.email=a@h commit -q --allow-empty -m agent; git branch hers`)
		if len(c.Files)+len(c.Withheld) != 0 {
			t.Fatalf("git's own files are in the change:\n%s%s", describe(c.Files), describe(c.Withheld))
		}
		seat.Close()
		s.sh(`git -c user.name=u -c user.email=u@h commit -q --allow-empty -m two`)
		s.ws = nil
		agent(t, s.take(SeatOptions{}), `git log --format=%s > /dev/null; test "$(git log -1 --format=%s)" = two; test -z "$(git branch --list hers)"; git fsck --no-progress`)
	})
}

func TestDiscardContract(t *testing.T) {
	s := newSite(t, StagingOverlay)
	seat, c := s.run(`echo x > x`)
	gatetest.Contract(t, gatetest.Effect{
		Name: "Discard", Action: DiscardAction(seat.ID(), "not wanted"),
		Call: func(ctx context.Context, g gate.Grant) error {
			return seat.Discard(ctx, g, DiscardAction(seat.ID(), "not wanted"))
		},
		Happened: func() bool {
			_, err := os.Lstat(filepath.Join(seat.Layers()[0].Upper, "x"))
			return err != nil
		},
	})
	if e, err := s.ws.Change(c.ID); err != nil || e.State != ChangeDiscarded {
		t.Errorf("the change is %s, %v", e.State, err)
	}
	other := DiscardAction(carrel.NewDeskID(), "x")
	g, _ := gatetest.AllowAll()
	_, err := g.Do(context.Background(), other, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		return carrel.Outcome{}, seat.Discard(ctx, grant, other)
	})
	if !errors.Is(err, gate.ErrNoGrant) {
		t.Errorf("discarding with a grant for another desk: %v", err)
	}
}

// Which change the operators' commands mean.
func TestChangeStates(t *testing.T) {
	s := newSite(t, StagingOverlay)
	seat := s.take(SeatOptions{})
	w := s.ws
	if _, err := w.ShownChange(); !errors.Is(err, ErrNoChange) {
		t.Errorf("nothing was captured, and ShownChange says %v", err)
	}
	agent(t, seat, `echo 1 > a`)
	first := captureWith(t, seat, CaptureOptions{Decide: allowAll, Running: true})
	if same := captureWith(t, seat, CaptureOptions{Decide: allowAll, Running: true}); same.ID != first.ID {
		t.Errorf("the same change got another id")
	}
	if err := w.MarkShown(first.ID); err != nil {
		t.Fatal(err)
	}
	if e, err := w.ShownChange(); err != nil || e.ID != first.ID {
		t.Errorf("shown: %s, %v", e.ID, err)
	}
	agent(t, seat, `echo 2 > a`)
	second := capture(t, seat)
	if e, err := w.ShownChange(); !errors.Is(err, ErrNewerChange) || !strings.Contains(err.Error(), string(first.ID)) || !strings.Contains(err.Error(), string(second.ID)) {
		t.Errorf("a newer change exists, and ShownChange says %s, %v", e.ID, err)
	}
	if e, err := w.Change(first.ID); err != nil || e.State != ChangeSuperseded {
		t.Errorf("the first is %s, %v", e.State, err)
	}
	e, err := w.LatestChange()
	if err != nil || e.ID != second.ID {
		t.Fatalf("latest: %s, %v", e.ID, err)
	}
	c, err := w.LoadChange(e)
	if err != nil || describe(c.Files) != describe(second.Files) {
		t.Errorf("loaded: %v", err)
	}
	e.Digest = carrel.DigestBytes([]byte("another"))
	if _, err := w.LoadChange(e); err == nil {
		t.Error("a manifest with another digest was loaded")
	}
	if _, err := w.Change("chg_../../../etc/passwd"); err == nil {
		t.Error("a path was taken for an id")
	}
}

func TestPrune(t *testing.T) {
	s := newSite(t, StagingOverlay)
	seat, c := s.run(`echo x > x`)
	seat.Close()
	busy := s.take(SeatOptions{Fresh: true})
	time.Sleep(20 * time.Millisecond)
	prune := func(keep Retention) Pruned {
		t.Helper()
		p, err := Prune(context.Background(), s.state, s.ws.opts.Blobs, keep, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := prune(Retention{Desks: time.Millisecond, Changes: time.Millisecond}); p.Desks+p.Changes+p.Contents != 0 {
		t.Errorf("pending work was pruned: %+v", p)
	}
	if !s.ws.opts.Blobs.Has(c.Files[0].Digest) {
		t.Error("content of a pending change was pruned")
	}
	keep := Retention{Work: time.Millisecond}
	var p Pruned
	gatetest.Contract(t, gatetest.Effect{
		Name: "PruneWork", Action: PruneWorkAction(keep.Work),
		Call: func(ctx context.Context, g gate.Grant) (err error) {
			p, err = PruneWork(ctx, g, s.state, s.ws.opts.Blobs, keep, nil)
			return err
		},
		Happened: func() bool { return p.Desks > 0 || !s.ws.opts.Blobs.Has(c.Files[0].Digest) },
	})
	if p.Desks != 1 || p.Changes != 1 || p.Contents != 2 {
		t.Errorf("pruned: %+v", p)
	}
	if desks, err := s.ws.Desks(); err != nil || len(desks) != 1 || desks[0].ID != busy.ID() {
		t.Errorf("desks left: %+v, %v", desks, err)
	}
}

// Work of a run that was killed before it could be captured is work.
func TestPruneKeepsWhatWasNotCaptured(t *testing.T) {
	s := newSite(t, StagingOverlay)
	seat := s.take(SeatOptions{})
	agent(t, seat, `echo x > x`)
	seat.Close()
	time.Sleep(20 * time.Millisecond)
	if p, err := Prune(context.Background(), s.state, s.ws.opts.Blobs, Retention{Desks: time.Millisecond}, nil); err != nil || p.Desks != 0 {
		t.Errorf("pruned: %+v, %v", p, err)
	}
	g, _ := gatetest.AllowAll()
	_, err := g.Do(context.Background(), PruneWorkAction(time.Millisecond), func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		p, err := PruneWork(ctx, grant, s.state, s.ws.opts.Blobs, Retention{Work: time.Millisecond}, nil)
		if p.Desks != 1 {
			t.Errorf("when its time has come: %+v", p)
		}
		return carrel.Outcome{}, err
	})
	if err != nil {
		t.Error(err)
	}
}

// A desk belongs to one workspace: its layers are nowhere else's change.
func TestDeskOfAnotherWorkspace(t *testing.T) {
	s := newSite(t, StagingOverlay)
	seat := s.take(SeatOptions{})
	seat.Close()
	if again, err := s.ws.Desk(seat.ID()); err != nil {
		t.Error(err)
	} else {
		again.Close()
	}
	other, err := Open(context.Background(), tempDir(t), s.ws.opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Desk(seat.ID()); err == nil || !strings.Contains(err.Error(), "another workspace") {
		t.Errorf("opened from another workspace: %v", err)
	}
}

// A review in one terminal does not undo what an apply in another noted.
func TestNotesOnAChangeDoNotOverwriteEachOther(t *testing.T) {
	s := newSite(t, StagingCopy)
	seat, c := s.run(`echo x > f`)
	seat.Close()
	w := s.open()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				if err := w.MarkShown(c.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if err := w.SetChangeState(c.ID, ChangeApplied, "tree"); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if e, err := w.Change(c.ID); err != nil || e.State != ChangeApplied || e.Shown.IsZero() {
		t.Errorf("%+v, %v", e, err)
	}
}

// What was applied last is what the user means after an apply, however the
// changes were made.
func TestLatestAppliedIsTheOneAppliedLast(t *testing.T) {
	s := newSite(t, StagingCopy)
	w := s.open()
	var made []*carrel.Change
	for _, script := range []string{`echo x > f`, `echo y > g`, `echo z > h`} {
		seat, c := s.run(script)
		seat.Close()
		made = append(made, c)
	}
	if e, err := w.LatestApplied(); !errors.Is(err, ErrNoChange) {
		t.Errorf("none was applied: %s, %v", e.ID, err)
	}
	for _, c := range []*carrel.Change{made[1], made[0]} {
		if err := w.SetChangeState(c.ID, ChangeApplied, "tree"); err != nil {
			t.Fatal(err)
		}
		if e, err := w.LatestApplied(); err != nil || e.ID != c.ID {
			t.Errorf("%s, %v, want %s", e.ID, err, c.ID)
		}
	}
}
