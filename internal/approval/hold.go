package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Bounds against fatigue: a person who is asked too much stops reading.
const (
	maxHeld    = 16          // questions open at once
	maxAsked   = 200         // questions of one run
	coolDown   = time.Minute // before what nobody answered is asked again
	tiredAfter = 5           // questions by the same rules, refused or not answered in a row, before these rest
	noticeFor  = time.Hour   // how long an action that is not held can be answered
	lookEvery  = 50 * time.Millisecond
	countEvery = time.Second // how often a growing count is written down
)

// ErrTooMany is returned for asks beyond the bounds.
var ErrTooMany = errors.New("too many questions are open or were asked in this run")

// Live says how asks about actions under way are put to people. Its fields are
// set before the first use.
type Live struct {
	// Hold is how long an action waits for its answer; 0: it does not wait, and
	// can be answered for its next try. Negative: it is no action under way.
	Hold func(carrel.Action) time.Duration
	// Opened hears of every question that was not open before. It must not
	// block.
	Opened func(OpenQuestion)
	// Ask, if set, asks the person at the terminal while the action waits. It
	// must return when ctx ends. gate.ErrPending: no answer there.
	Ask func(ctx context.Context, q OpenQuestion) (Reply, error)

	mu       sync.Mutex // guards what follows, each by likeness
	open     map[carrel.Digest]*held
	asked    int
	resting  map[carrel.Digest]time.Time // until when what nobody answered is not asked again
	answered map[carrel.Digest]carrel.Approval
	refused  map[string]int       // questions by the same rules, in a row
	tired    map[string]time.Time // until when rules do not ask

	over      bool
	ended     chan struct{} // closed once over
	attending sync.WaitGroup
}

// Reply is what a person said at the terminal.
type Reply struct {
	Granted bool
	Reason  string
	Keep    bool // for identical actions of this run, too
}

// held is one open question with everybody who waits for its answer.
type held struct {
	question OpenQuestion
	done     chan struct{} // closed when what follows is set
	answer   carrel.Approval
	err      error
}

// likeness is what identical asks have in common. The processes that ask are
// not part of it, nor the way to the program: a shell that was refused one
// tries the next directory of its PATH, which is no new question.
func likeness(a carrel.Action, digest carrel.Digest) carrel.Digest {
	if a.Process == nil {
		return digest
	}
	a.Process, a.RawPath = nil, ""
	if d, err := a.Digest(); err == nil {
		return d
	}
	return digest
}

// ask puts a question to people and waits for their answer as long as the
// action may be held. Identical asks are one, and each gets the answer for
// itself.
func (s *Store) ask(ctx context.Context, a carrel.Action, digest carrel.Digest, d carrel.Decision) (carrel.Approval, error) {
	hold := s.Live.Hold(a)
	h, fresh, err := s.join(a, digest, d, hold)
	if err != nil {
		return carrel.Approval{}, err
	}
	if h == nil { // not held: it can be answered for the next try
		return carrel.Approval{}, gate.ErrPending
	}
	if fresh {
		go s.attend(h, hold) // ends with the answer, or when the time is up
	}
	select {
	case <-h.done:
		answer := h.answer
		if h.err == nil {
			answer.Action = digest
		}
		return answer, h.err
	case <-ctx.Done():
		return carrel.Approval{}, fmt.Errorf("%w: %w", gate.ErrPending, ctx.Err())
	}
}

// join finds the open question that an ask is, or opens one.
func (s *Store) join(a carrel.Action, digest carrel.Digest, d carrel.Decision, hold time.Duration) (h *held, fresh bool, err error) {
	l, like := s.Live, likeness(a, digest)
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.open[like]; h != nil {
		h.question.Count++
		return h, false, nil
	}
	if p, ok := l.answered[like]; ok && p.Policy == d.Policy && s.now().Before(p.Expires) {
		h := &held{done: make(chan struct{}), answer: p}
		close(h.done)
		return h, false, nil
	}
	if l.over {
		return nil, false, fmt.Errorf("%w: the run is over", gate.ErrPending)
	}
	if err := l.rests(like, s.now(), a, d); err != nil {
		return nil, false, err
	}
	switch {
	case len(l.open) >= maxHeld || l.asked >= maxAsked:
		return nil, false, ErrTooMany
	}
	l.asked++
	lasts := hold
	if hold == 0 {
		lasts = noticeFor
	}
	now := s.now().UTC()
	q := OpenQuestion{Action: a, Digest: digest, Decision: d, Count: 1, Since: now, Until: now.Add(lasts), Held: hold > 0}
	if err := s.note(q); err != nil {
		return nil, false, err
	}
	if l.Opened != nil {
		l.Opened(q)
	}
	if hold == 0 {
		return nil, false, nil
	}
	if l.open == nil {
		l.ended = make(chan struct{})
		l.open, l.resting, l.answered = map[carrel.Digest]*held{}, map[carrel.Digest]time.Time{}, map[carrel.Digest]carrel.Approval{}
		l.refused, l.tired = map[string]int{}, map[string]time.Time{}
	}
	h = &held{question: q, done: make(chan struct{})}
	l.open[like] = h
	l.attending.Add(1)
	return h, true, nil
}

// End ends the run's questions: nobody waits for an answer any more, and none is
// listed, or approved for nothing. What is asked from now on is put to nobody.
func (s *Store) End() {
	l := s.Live
	l.mu.Lock()
	if !l.over && l.ended != nil {
		close(l.ended)
	}
	l.over = true
	l.mu.Unlock()
	l.attending.Wait()
}

// rests returns an error while an ask is not put to people again. l.mu is held.
func (l *Live) rests(like carrel.Digest, now time.Time, a carrel.Action, d carrel.Decision) error {
	if until := l.resting[like]; now.Before(until) {
		return fmt.Errorf("%w: nobody answered, and it is not asked again before %s", gate.ErrExpired, until.Local().Format(time.TimeOnly))
	}
	if until := l.tired[rules(a, d)]; now.Before(until) {
		return fmt.Errorf("%w: %d such questions in a row were refused or not answered, and no more are asked before %s", gate.ErrExpired, tiredAfter, until.Local().Format(time.TimeOnly))
	}
	return nil
}

// rules name what asked: an agent that varies its question is refused by these
// again and again.
func rules(a carrel.Action, d carrel.Decision) string {
	return string(a.Operation) + " " + strings.Join(d.Rules, " ")
}

// settle counts an answer, or that there was none. l.mu is held.
func (l *Live) settle(q OpenQuestion, granted bool, now time.Time) {
	asks := rules(q.Action, q.Decision)
	if granted {
		delete(l.refused, asks)
		return
	}
	if l.refused[asks]++; l.refused[asks] >= tiredAfter {
		l.tired[asks] = now.Add(coolDown)
		delete(l.refused, asks)
	}
}

// attend waits for the answer to one question, from the terminal or from
// another process, and gives it to all who wait.
func (s *Store) attend(h *held, hold time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), hold)
	defer cancel()
	defer s.Live.attending.Done()
	go func() { // ends with the question
		select {
		case <-s.Live.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	replies := make(chan carrel.Approval, 1)
	if s.Live.Ask != nil {
		go s.askThere(ctx, h.question, replies)
	}
	answer, err := s.watch(ctx, h, replies)
	cancel() // takes the question from the terminal
	l := s.Live
	l.mu.Lock()
	defer l.mu.Unlock()
	h.answer, h.err = answer, err
	like := likeness(h.question.Action, h.question.Digest)
	delete(l.open, like)
	l.settle(h.question, err == nil && answer.Granted, s.now())
	switch {
	case errors.Is(err, gate.ErrExpired):
		l.resting[like] = s.now().Add(coolDown)
	case err == nil && (!answer.Granted || outlives(answer, h.question)): // a no is for the run: nobody is asked again
		l.answered[like] = answer
	}
	s.forget(h.question.Digest)
	close(h.done)
}

// outlives reports whether an answer from elsewhere is meant for more than one
// action. At the terminal Reply.Keep says so.
func outlives(p carrel.Approval, q OpenQuestion) bool {
	return !p.Terminal && p.Expires.After(q.Until.Add(Grace))
}

// watch looks for a stored answer until one comes from anywhere.
func (s *Store) watch(ctx context.Context, h *held, replies <-chan carrel.Approval) (carrel.Approval, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	written, wroteAt := int64(1), time.Now()
	for {
		select {
		case p := <-replies:
			return p, nil
		case <-ctx.Done():
			return carrel.Approval{}, gate.ErrExpired
		case <-tick.C:
		}
		p, found, err := s.find(h.question.Digest)
		if err != nil { // in doubt, or not in the log yet: no answer so far
			continue
		}
		if bound := p.Run == h.question.Action.Run && p.Policy == h.question.Decision.Policy; found && s.now().Before(p.Expires) && (bound || !p.Granted) {
			return p, nil
		}
		if q := s.counted(h); q.Count != written && time.Since(wroteAt) >= countEvery {
			written, wroteAt = q.Count, time.Now()
			_ = s.note(q) // an older count is shown
		}
	}
}

func (s *Store) counted(h *held) OpenQuestion {
	s.Live.mu.Lock()
	defer s.Live.mu.Unlock()
	return h.question
}

// askThere asks at the terminal, one question at a time.
func (s *Store) askThere(ctx context.Context, q OpenQuestion, replies chan<- carrel.Approval) {
	s.prompting.Lock()
	defer s.prompting.Unlock()
	if ctx.Err() != nil {
		return
	}
	r, err := s.Live.Ask(ctx, q)
	if err != nil {
		return // it can still be answered from elsewhere
	}
	p := s.approval(q.Digest, q.Action.Run, q.Decision.Policy)
	p.Granted, p.Reason, p.Terminal = r.Granted, carrel.Text(r.Reason), true
	if r.Keep {
		s.Live.mu.Lock()
		s.Live.answered[likeness(q.Action, q.Digest)] = p
		s.Live.mu.Unlock()
	}
	replies <- p
}
