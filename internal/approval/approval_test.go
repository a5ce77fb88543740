package approval

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

var (
	policyA = carrel.DigestBytes([]byte("policy a"))
	policyB = carrel.DigestBytes([]byte("policy b"))
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "approvals"))
	if err != nil {
		t.Fatal(err)
	}
	s.By = "1000:alice"
	return s
}

func asked(run string) (carrel.Action, carrel.Digest) {
	a := carrel.Action{Operation: carrel.OpExec, Run: carrel.RunID(run), Argv: []carrel.Text{"make", "release"}}
	digest, err := a.Digest()
	if err != nil {
		panic(err)
	}
	return a, digest
}

// operator builds the operator's own action that answers digest.
func operator(op carrel.Operation, run string, digest carrel.Digest) carrel.Action {
	return carrel.Action{Operation: op, Run: carrel.RunID(run), Subject: "act_x", SubjectDigest: digest, Reason: "seen"}
}

func answer(t *testing.T, s *Store, a carrel.Action, policy carrel.Digest) error {
	t.Helper()
	g, _ := gatetest.AllowAll()
	_, err := g.Do(context.Background(), a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		_, err := s.Answer(ctx, grant, a, policy)
		return carrel.Outcome{}, err
	})
	return err
}

// through asks the real gate about a, which policy asks people about.
func through(s *Store, a carrel.Action, policy carrel.Digest) (ran bool, err error) {
	ask := gatetest.Decide(func(carrel.Action) carrel.Decision {
		return carrel.Decision{Verdict: carrel.Ask, Reason: "people decide", Policy: policy}
	})
	_, err = gate.New(ask, s, &gatetest.Log{}).Do(context.Background(), a, func(context.Context, gate.Grant) (carrel.Outcome, error) {
		ran = true
		return carrel.Outcome{}, nil
	})
	return ran, err
}

func wantRefused(t *testing.T, s *Store, a carrel.Action, policy carrel.Digest, cause error) {
	t.Helper()
	if ran, err := through(s, a, policy); ran || !errors.Is(err, cause) {
		t.Errorf("ran %v, error %v, want %v", ran, err, cause)
	}
}

func wantRun(t *testing.T, s *Store, a carrel.Action, policy carrel.Digest) {
	t.Helper()
	if ran, err := through(s, a, policy); !ran || err != nil {
		t.Errorf("ran %v, error %v", ran, err)
	}
}

func TestAnswerIsAnEffect(t *testing.T) {
	s := open(t)
	_, digest := asked("run_1")
	a := operator(carrel.OpApprove, "run_1", digest)
	path, _ := s.path(digest, true)
	gatetest.Contract(t, gatetest.Effect{
		Name: "Answer", Action: a,
		Call: func(ctx context.Context, g gate.Grant) error {
			_, err := s.Answer(ctx, g, a, policyA)
			return err
		},
		Happened: func() bool { _, err := os.Stat(path); return err == nil },
	})
}

func TestApprovalIsBoundToActionRunAndPolicy(t *testing.T) { // E82
	s := open(t)
	a, digest := asked("run_1")
	wantRefused(t, s, a, policyA, gate.ErrPending)
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	wantRun(t, s, a, policyA)
	wantRefused(t, s, a, policyB, gate.ErrDenied)
	otherRun, _ := asked("run_2")
	wantRefused(t, s, otherRun, policyA, gate.ErrPending)
	otherArgv := a.Clone()
	otherArgv.Argv[1] = "release2"
	wantRefused(t, s, otherArgv, policyA, gate.ErrPending)
}

func TestApprovalForAnotherRunIsRefused(t *testing.T) { // E82: the operator named another run
	s := open(t)
	a, digest := asked("run_1")
	if err := answer(t, s, operator(carrel.OpApprove, "run_2", digest), policyA); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, s, a, policyA, gate.ErrDenied)
}

func TestApprovalExpires(t *testing.T) { // E83
	s := open(t)
	a, digest := asked("run_1")
	s.now = func() time.Time { return time.Now().Add(-25 * time.Hour) }
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	s.now = time.Now
	wantRefused(t, s, a, policyA, gate.ErrExpired)
}

func TestApprovalFromTheFutureIsRefused(t *testing.T) { // E83: the clock was set back
	s := open(t)
	a, digest := asked("run_1")
	s.now = func() time.Time { return time.Now().Add(time.Hour) }
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, s, a, policyA, gate.ErrDenied)
}

func TestDenialWinsOverApproval(t *testing.T) { // E86
	s := open(t)
	a, digest := asked("run_1")
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	if err := answer(t, s, operator(carrel.OpDeny, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, s, a, policyA, gate.ErrDenied)
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); !errors.Is(err, ErrAlreadyDenied) {
		t.Errorf("approving what was denied: %v", err)
	}
	wantRefused(t, s, a, policyB, gate.ErrDenied)
	s.Prompt = func(context.Context, Question) (bool, string, error) { return true, "", nil }
	wantRefused(t, s, a, policyA, gate.ErrDenied)
}

func TestOnlyWhoDeniedTakesItBack(t *testing.T) {
	s := open(t)
	a, digest := asked("run_1")
	approve := operator(carrel.OpApprove, "run_1", digest)
	if err := answer(t, s, operator(carrel.OpDeny, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	later := func() time.Time { return time.Now().Add(secondThoughts + time.Second) }
	s.now, s.By = later, "1001:bob"
	if err := answer(t, s, approve, policyA); !errors.Is(err, ErrAlreadyDenied) {
		t.Errorf("another person took a denial back: %v", err)
	}
	s.now, s.By = time.Now, "1000:alice"
	if err := answer(t, s, approve, policyA); !errors.Is(err, ErrAlreadyDenied) {
		t.Errorf("a double click took a denial back: %v", err)
	}
	wantRefused(t, s, a, policyA, gate.ErrDenied)
	s.now = later
	if err := answer(t, s, approve, policyA); err != nil {
		t.Fatal(err)
	}
	wantRun(t, s, a, policyA)
}

func TestRacingApproversEndDenied(t *testing.T) { // E86
	s := open(t)
	a, digest := asked("run_1")
	var wg sync.WaitGroup
	for i := range 16 {
		op := carrel.OpApprove
		if i == 7 {
			op = carrel.OpDeny
		}
		wg.Go(func() {
			if err := answer(t, s, operator(op, "run_1", digest), policyA); err != nil && !errors.Is(err, ErrAlreadyDenied) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantRefused(t, s, a, policyA, gate.ErrDenied)
}

func TestAnswersSurviveARestart(t *testing.T) { // E88
	s := open(t)
	a, digest := asked("run_1")
	again := func() *Store {
		s, err := Open(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	wantRefused(t, again(), a, policyA, gate.ErrPending) // never allowed by itself
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	wantRun(t, again(), a, policyA)
}

func TestForgedAnswersAreRefused(t *testing.T) {
	forge := map[string]func(t *testing.T, path string){
		"others may write":   func(t *testing.T, p string) { must(t, os.Chmod(p, 0o622)) },
		"others may read":    func(t *testing.T, p string) { must(t, os.Chmod(p, 0o644)) },
		"a link":             func(t *testing.T, p string) { must(t, os.Rename(p, p+"2")); must(t, os.Symlink(p+"2", p)) },
		"a hard link":        func(t *testing.T, p string) { must(t, os.Link(p, p+"2")) },
		"a directory":        func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Mkdir(p, 0o700)) },
		"an unknown field":   func(t *testing.T, p string) { edit(t, p, `"by":`, `"bye":1,"by":`) },
		"white space":        func(t *testing.T, p string) { edit(t, p, `"by":`, `"by": `) },
		"two answers":        func(t *testing.T, p string) { edit(t, p, `"by":`, `"by":"1:root","by":`) },
		"data after it":      func(t *testing.T, p string) { edit(t, p, `}`, `}{}`) },
		"an answer of no":    func(t *testing.T, p string) { edit(t, p, `"granted":true`, `"granted":false`) },
		"an empty file":      func(t *testing.T, p string) { must(t, os.Truncate(p, 0)) },
		"a file that is cut": func(t *testing.T, p string) { must(t, os.Truncate(p, 40)) },
		"a huge file":        func(t *testing.T, p string) { must(t, os.Truncate(p, 1<<30)) },
		"another's answer":   func(t *testing.T, p string) { edit(t, p, `"action":"sha256:`+hexOf(p)[:4], `"action":"sha256:ffff`) },
	}
	for name, f := range forge {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			a, digest := asked("run_1")
			if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); err != nil {
				t.Fatal(err)
			}
			wantRun(t, s, a, policyA)
			path, _ := s.path(digest, true)
			f(t, path)
			wantRefused(t, s, a, policyA, gate.ErrDenied)
		})
	}
}

// TestAnswerOfAnotherUserIsRefused needs root to give a file away; an ordinary
// user cannot even set the attack up.
func TestAnswerOfAnotherUserIsRefused(t *testing.T) {
	needs.Root(t)
	s := open(t)
	a, digest := asked("run_1")
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	path, _ := s.path(digest, true)
	must(t, os.Lchown(path, 65534, 65534))
	wantRefused(t, s, a, policyA, gate.ErrDenied)
	must(t, os.Lchown(path, 0, 0))
	wantRun(t, s, a, policyA)
	must(t, os.Lchown(s.dir, 65534, 65534))
	if _, err := Open(s.dir); err == nil {
		t.Error("the directory of another user was opened")
	}
}

func TestUnconfirmedAnswerIsRefused(t *testing.T) {
	s := open(t)
	a, digest := asked("run_1")
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	s.Confirm = func(carrel.Approval) error { return errors.New("the log does not hold it") }
	wantRefused(t, s, a, policyA, gate.ErrDenied)
	s.Confirm = func(p carrel.Approval) error { return nil }
	wantRun(t, s, a, policyA)
}

func TestPrompt(t *testing.T) {
	s := open(t)
	a, digest := asked("run_1")
	say, asked := true, 0
	s.Prompt = func(_ context.Context, q Question) (bool, string, error) {
		asked++
		if q.Digest != digest {
			t.Errorf("asked about %s", q.Digest)
		}
		return say, "because", nil
	}
	wantRun(t, s, a, policyA)
	say = false
	wantRefused(t, s, a, policyA, gate.ErrDenied)
	s.Prompt = func(context.Context, Question) (bool, string, error) { return true, "", errors.New("no terminal") }
	wantRefused(t, s, a, policyA, gate.ErrDenied)
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

func TestPromptIsNotShownForWhatIsAnswered(t *testing.T) {
	s := open(t)
	a, digest := asked("run_1")
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digest), policyA); err != nil {
		t.Fatal(err)
	}
	s.Prompt = func(context.Context, Question) (bool, string, error) {
		t.Error("asked about an answered action")
		return false, "", nil
	}
	wantRun(t, s, a, policyA)
}

func TestOpenRefusesADirectoryOfOthers(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o770))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "0700") {
		t.Errorf("mode 0770: %v", err)
	}
	must(t, os.Chmod(dir, 0o700))
	if _, err := Open(dir); err != nil {
		t.Error(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	if _, err := Open(link); err == nil {
		t.Error("a link was opened")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hexOf(path string) string { return strings.SplitN(filepath.Base(path), ".", 2)[0] }

func edit(t *testing.T, path, old, now string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	if !strings.Contains(string(raw), old) {
		t.Fatalf("%s has no %s", raw, old)
	}
	must(t, os.WriteFile(path, []byte(strings.Replace(string(raw), old, now, 1)), 0o600))
}
