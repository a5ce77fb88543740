package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// holding is a store whose questions wait for d. What it opened goes into the
// channel.
func holding(t *testing.T, d time.Duration) (*Store, chan OpenQuestion) {
	t.Helper()
	s, opened := open(t), make(chan OpenQuestion, 1000)
	s.Live = &Live{Hold: func(carrel.Action) time.Duration { return d }, Opened: func(q OpenQuestion) { opened <- q }}
	return s, opened
}

// elsewhere is another process that answers what it finds, for the run.
func elsewhere(t *testing.T, s *Store, op carrel.Operation, q OpenQuestion) {
	t.Helper()
	elsewhereFor(t, s, op, q, 0)
}

func elsewhereFor(t *testing.T, s *Store, op carrel.Operation, q OpenQuestion, lifetime time.Duration) {
	t.Helper()
	other, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	other.By, other.Lifetime = "1000:alice", lifetime
	found, err := other.Questions()
	if err != nil || len(found) == 0 || found[0].Digest != q.Digest {
		t.Errorf("questions %v, %v", found, err)
	}
	if err := answer(t, other, operator(op, string(q.Action.Run), q.Digest), q.Decision.Policy); err != nil {
		t.Error(err)
	}
}

func TestHeldActionGoesOnWithItsAnswer(t *testing.T) {
	for op, want := range map[carrel.Operation]error{carrel.OpApprove: nil, carrel.OpDeny: gate.ErrDenied} {
		s, opened := holding(t, 10*time.Second)
		a, _ := asked("run_1")
		go func() { elsewhere(t, s, op, <-opened) }()
		ran, err := through(s, a, policyA)
		if ran != (want == nil) || !errors.Is(err, want) {
			t.Errorf("%s: ran %v, error %v", op, ran, err)
		}
		if left, err := s.Questions(); err != nil || len(left) != 0 {
			t.Errorf("left open: %v, %v", left, err)
		}
	}
}

// A question of a run that is over is not listed any more, and nobody who is
// asked then waits.
func TestQuestionsEndWithTheirRun(t *testing.T) {
	s, _ := holding(t, time.Hour)
	asking, asks := make(chan struct{}), make(chan error, 1)
	s.Live.Ask = func(ctx context.Context, _ OpenQuestion) (Reply, error) {
		close(asking)
		<-ctx.Done()
		asks <- ctx.Err()
		return Reply{}, ctx.Err()
	}
	a, _ := asked("run_1")
	waited := make(chan error, 1)
	go func() {
		_, err := through(s, a, policyA)
		waited <- err
	}()
	<-asking
	s.End()
	if left, err := s.Questions(); err != nil || len(left) != 0 {
		t.Errorf("left open: %v, %v", left, err)
	}
	if err := <-waited; err == nil {
		t.Error("the action went ahead")
	}
	if err := <-asks; err == nil {
		t.Error("the terminal goes on asking")
	}
	wantRefused(t, s, a, policyA, gate.ErrPending)
	s.End()
	quiet, _ := holding(t, time.Hour)
	quiet.End() // where nothing was asked
}

func TestTimeOutDenies(t *testing.T) {
	s, opened := holding(t, 100*time.Millisecond)
	a, _ := asked("run_1")
	wantRefused(t, s, a, policyA, gate.ErrExpired)
	wantRefused(t, s, a, policyA, gate.ErrExpired) // resting: not asked again at once
	if n := len(opened); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if err := answer(t, s, operator(carrel.OpApprove, "run_1", digestOf(a)), policyA); err != nil {
		t.Fatal(err)
	}
	wantRun(t, s, a, policyA) // the answer counts though it rests
}

func digestOf(a carrel.Action) carrel.Digest { d, _ := a.Digest(); return d }

// H152: a thousand identical asks are one question; different ones are bounded.
func TestFloodOfAsksIsBounded(t *testing.T) {
	s, opened := holding(t, 3*time.Second)
	a, _ := asked("run_1")
	var ran atomic.Int64
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			if ok, _ := through(s, a, policyA); ok {
				ran.Add(1)
			}
		})
	}
	q := <-opened
	for s.counted(s.heldOf(q.Digest)).Count < 500 {
		time.Sleep(time.Millisecond)
	}
	elsewhere(t, s, carrel.OpApprove, q)
	all.Wait()
	if len(opened) != 0 || ran.Load() != 500 {
		t.Errorf("%d more questions; %d ran", len(opened), ran.Load())
	}

	s, opened = holding(t, time.Second)
	var tooMany atomic.Int64
	for i := range 300 {
		all.Go(func() {
			a, _ := asked(fmt.Sprintf("run_%d", i))
			if _, err := s.Await(context.Background(), a, digestOf(a), carrel.Decision{Verdict: carrel.Ask, Policy: policyA}); errors.Is(err, ErrTooMany) {
				tooMany.Add(1)
			}
		})
	}
	all.Wait()
	if len(opened) > maxHeld || tooMany.Load() < 300-maxHeld {
		t.Errorf("%d questions, %d refused", len(opened), tooMany.Load())
	}
}

func (s *Store) heldOf(d carrel.Digest) *held {
	s.Live.mu.Lock()
	defer s.Live.mu.Unlock()
	return s.Live.open[d]
}

func TestQuestionsOfARunAreBounded(t *testing.T) {
	s, _ := holding(t, 0)
	for i := range maxAsked + 50 {
		a, _ := asked(fmt.Sprintf("run_%d", i))
		_, err := s.Await(context.Background(), a, digestOf(a), carrel.Decision{Verdict: carrel.Ask, Policy: policyA})
		if late := i >= maxAsked; errors.Is(err, ErrTooMany) != late {
			t.Fatalf("question %d: %v", i, err)
		}
	}
}

func TestAnswerAtTheTerminal(t *testing.T) {
	a, _ := asked("run_1")
	for _, c := range []struct {
		reply Reply
		again int // how often the person is asked about two identical actions
		want  error
	}{
		{Reply{Granted: true}, 2, nil},
		{Reply{Granted: true, Keep: true}, 1, nil},
		{Reply{}, 1, gate.ErrDenied},
	} {
		s, _ := holding(t, 5*time.Second)
		asked := 0
		s.Live.Ask = func(_ context.Context, q OpenQuestion) (Reply, error) {
			asked++
			if q.Digest != digestOf(a) {
				t.Errorf("asked about %s", q.Digest)
			}
			return c.reply, nil
		}
		for range 2 {
			if ran, err := through(s, a, policyA); ran != (c.want == nil) || !errors.Is(err, c.want) {
				t.Errorf("%+v: ran %v, %v", c.reply, ran, err)
			}
		}
		if asked != c.again {
			t.Errorf("%+v: asked %d times", c.reply, asked)
		}
	}
}

func TestAnswerFromElsewhereTakesTheQuestionFromTheTerminal(t *testing.T) {
	s, opened := holding(t, 10*time.Second)
	gone := make(chan struct{})
	s.Live.Ask = func(ctx context.Context, _ OpenQuestion) (Reply, error) {
		<-ctx.Done()
		close(gone)
		return Reply{}, gate.ErrPending
	}
	go func() { elsewhere(t, s, carrel.OpApprove, <-opened) }()
	a, _ := asked("run_1")
	wantRun(t, s, a, policyA)
	<-gone
}

// The answer to a question that is not held lets the next try through.
func TestActionThatCannotWaitIsAnsweredForItsNextTry(t *testing.T) {
	s, opened := holding(t, 0)
	a, _ := asked("")
	wantRefused(t, s, a, policyA, gate.ErrPending)
	elsewhere(t, s, carrel.OpApprove, <-opened)
	wantRun(t, s, a, policyA)
	wantRefused(t, s, a, policyB, gate.ErrPending) // under another policy it is asked anew
}

// H149: what a person is shown is what the answer is bound to.
func TestForgedQuestionIsRefused(t *testing.T) {
	s, _ := holding(t, 0)
	a, _ := asked("run_1")
	wantRefused(t, s, a, policyA, gate.ErrPending)
	q, err := s.question(digestOf(a))
	if err != nil {
		t.Fatal(err)
	}
	q.Action.Argv = []carrel.Text{"true"}
	if err := s.note(q); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Questions(); err == nil {
		t.Error("a question that shows another action is listed")
	}
}

func TestPublicationIsNotHeld(t *testing.T) {
	s, opened := holding(t, -1)
	a, _ := asked("run_1")
	wantRefused(t, s, a, policyA, gate.ErrPending)
	if len(opened) != 0 {
		t.Error("it was put to people as an action under way")
	}
}

// A command that another process executes is the same question; every answer
// is bound to the action that it let go on all the same.
func TestSameCommandOfAnotherProcessIsTheSameQuestion(t *testing.T) {
	command := func(pid int, argv ...carrel.Text) carrel.Action {
		return carrel.Action{Run: "run_1", Operation: carrel.OpExec, Path: "/usr/bin/date", Argv: argv, Process: &carrel.Process{PID: pid, Parent: 1}}
	}
	for _, c := range []struct {
		reply Reply
		again int // how often the person is asked about three processes
		want  error
	}{{Reply{Granted: true}, 3, nil}, {Reply{Granted: true, Keep: true}, 1, nil}, {Reply{}, 1, gate.ErrDenied}} {
		s, _ := holding(t, 5*time.Second)
		times := 0
		s.Live.Ask = func(context.Context, OpenQuestion) (Reply, error) { times++; return c.reply, nil }
		for pid := range 3 {
			if ran, err := through(s, command(pid+10, "date"), policyA); ran != (c.want == nil) || !errors.Is(err, c.want) {
				t.Errorf("%+v: ran %v, %v", c.reply, ran, err)
			}
		}
		if times != c.again {
			t.Errorf("%+v: asked %d times", c.reply, times)
		}
		_, _ = through(s, command(9, "date", "-u"), policyA)
		if times != c.again+1 {
			t.Errorf("%+v: another command was not asked about", c.reply)
		}
	}
	s, opened := holding(t, 10*time.Second)
	go func() { elsewhere(t, s, carrel.OpDeny, <-opened) }()
	for pid := range 2 {
		if ran, err := through(s, command(pid+10, "date"), policyA); ran || !errors.Is(err, gate.ErrDenied) {
			t.Errorf("denied elsewhere: ran %v, %v", ran, err)
		}
	}
	if len(opened) != 0 {
		t.Error("what was denied elsewhere was asked again")
	}
}

// What another process answers for the run counts for the same command of
// every process; what it answers for one action does not.
func TestAnswerFromElsewhereForTheRun(t *testing.T) {
	command := func(pid int) carrel.Action {
		return carrel.Action{Run: "run_1", Operation: carrel.OpExec, Path: "/usr/bin/date", Argv: []carrel.Text{"date"}, Process: &carrel.Process{PID: pid, Parent: pid - 1}}
	}
	const wait = 2 * time.Second
	for lifetime, asked := range map[time.Duration]int{DefaultLifetime: 1, wait + Grace: 3} {
		s, opened := holding(t, wait)
		times := 0
		done := make(chan struct{})
		go func() {
			for q := range opened {
				times++
				elsewhereFor(t, s, carrel.OpApprove, q, lifetime-wait)
			}
			close(done)
		}()
		for pid := range 3 {
			if ran, err := through(s, command(pid+10), policyA); !ran || err != nil {
				t.Errorf("for %v: ran %v, %v", lifetime, ran, err)
			}
		}
		close(opened)
		<-done
		if times != asked {
			t.Errorf("for %v: asked %d times, want %d", lifetime, times, asked)
		}
		if lifetime == DefaultLifetime {
			other := command(20)
			other.Argv = append(other.Argv, "-u")
			s.Live.Opened = nil
			wantRefused(t, s, other, policyA, gate.ErrExpired)
		}
	}
}

// H152: an agent that varies its question after each no, or each silence, is
// not asked about for a while; a yes begins anew, and other rules still ask.
func TestVariedQuestionsRest(t *testing.T) {
	s, opened := holding(t, 0)
	now := time.Now()
	s.now = func() time.Time { return now }
	var reply, silent atomic.Bool
	s.Live.Hold = func(carrel.Action) time.Duration {
		if silent.Load() {
			return 20 * time.Millisecond
		}
		return 20 * time.Second
	}
	s.Live.Ask = func(ctx context.Context, _ OpenQuestion) (Reply, error) {
		if silent.Load() {
			<-ctx.Done()
			return Reply{}, gate.ErrPending
		}
		return Reply{Granted: reply.Load()}, nil
	}
	n := 0
	try := func(rule string) error {
		n++
		a, _ := asked(fmt.Sprintf("run_%d", n))
		_, err := s.Await(context.Background(), a, digestOf(a), carrel.Decision{Verdict: carrel.Ask, Policy: policyA, Rules: []string{rule}})
		return err
	}
	for i, granted := range []bool{false, false, false, false, true, false, false} {
		reply.Store(granted)
		if err := try("r/one"); err != nil {
			t.Fatalf("question %d: %v", i, err)
		}
	}
	silent.Store(true) // nobody is there
	for range tiredAfter - 2 {
		if err := try("r/one"); !errors.Is(err, gate.ErrExpired) {
			t.Fatal(err)
		}
	}
	before := len(opened)
	if err := try("r/one"); !errors.Is(err, gate.ErrExpired) || len(opened) != before {
		t.Errorf("asked after %d refusals in a row: %v", tiredAfter, err)
	} else if want := now.Add(coolDown).Local().Format(time.TimeOnly); !strings.Contains(err.Error(), want) {
		t.Errorf("it does not say until when, %s: %v", want, err)
	}
	silent.Store(false)
	if err := try("r/two"); err != nil || len(opened) != before+1 {
		t.Errorf("another rule: %v", err)
	}
	now = now.Add(coolDown + time.Second)
	if err := try("r/one"); err != nil || len(opened) != before+2 {
		t.Errorf("after the rest: %v", err)
	}
}

// A shell that was refused a program tries the next directory of its PATH.
func TestNextDirectoryOfThePathIsNoNewQuestion(t *testing.T) {
	s, opened := holding(t, 50*time.Millisecond)
	for i, raw := range []carrel.Text{"", "/bin/tool", "tool"} {
		a, _ := asked("run_1")
		a.Process, a.RawPath = &carrel.Process{PID: 100 + i, Parent: 1}, raw
		if _, err := s.Await(context.Background(), a, digestOf(a), carrel.Decision{Verdict: carrel.Ask, Policy: policyA}); !errors.Is(err, gate.ErrExpired) {
			t.Error(err)
		}
	}
	if len(opened) != 1 {
		t.Errorf("%d questions", len(opened))
	}
}
