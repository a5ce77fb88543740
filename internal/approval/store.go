package approval

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/private"
)

// DefaultLifetime is how long an answer counts.
const DefaultLifetime = 24 * time.Hour

// Grace is how long an answer to one action counts beyond its question. What
// counts longer is meant for identical actions of the same run, too.
const Grace = 5 * time.Second

// Question is what a person is asked: one action, by its digest.
type Question struct {
	Action   carrel.Action
	Digest   carrel.Digest
	Decision carrel.Decision
}

// Store keeps answers and implements gate.Approver. Its fields are set before
// the first use; then it is safe for concurrent use, also by several
// processes on one directory.
type Store struct {
	// By names who answers, as "uid:name".
	By string
	// Lifetime of new answers; 0: DefaultLifetime.
	Lifetime time.Duration
	// Prompt, if set, asks the person at the terminal about an action that
	// nobody has answered. It shows the digest. One prompt runs at a time.
	Prompt func(ctx context.Context, q Question) (granted bool, reason string, err error)
	// Confirm, if set, must know of a stored answer that grants (from the
	// log, say): an answer it does not confirm is an error.
	Confirm func(carrel.Approval) error
	// Live, if set, puts asks about actions under way to people.
	Live *Live

	dir       string
	now       func() time.Time
	prompting sync.Mutex // held while Prompt runs
}

// Open returns the store in dir, which it makes (mode 0700) if need be. A
// directory of another user, or one that others may write, is refused.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the approvals: %w", err)
	}
	if err := private.CheckDir(dir); err != nil {
		return nil, fmt.Errorf("opening the approvals: %s %w", dir, err)
	}
	return &Store{dir: dir, now: time.Now}, nil
}

// Await implements gate.Approver: it returns the stored answer, else asks at
// the terminal, else reports gate.ErrPending or gate.ErrExpired. While a
// denial lives it is the answer, whatever else was said.
func (s *Store) Await(ctx context.Context, a carrel.Action, digest carrel.Digest, d carrel.Decision) (carrel.Approval, error) {
	stored, found, err := s.find(digest)
	if err != nil {
		return carrel.Approval{}, err
	}
	live := found && s.now().Before(stored.Expires)
	switch bound := stored.Run == a.Run && stored.Policy == d.Policy; {
	case live && (bound || !stored.Granted):
		return stored, nil
	case s.Prompt != nil:
		return s.prompt(ctx, Question{a, digest, d})
	case s.Live != nil && s.Live.Hold(a) >= 0:
		return s.ask(ctx, a, digest, d)
	case live: // given under another policy or for another run: the gate says so
		return stored, nil
	case found:
		return carrel.Approval{}, gate.ErrExpired
	}
	return carrel.Approval{}, gate.ErrPending
}

func (s *Store) prompt(ctx context.Context, q Question) (carrel.Approval, error) {
	s.prompting.Lock()
	defer s.prompting.Unlock()
	if err := ctx.Err(); err != nil {
		return carrel.Approval{}, fmt.Errorf("%w: %w", gate.ErrPending, err)
	}
	granted, reason, err := s.Prompt(ctx, q)
	if err != nil {
		return carrel.Approval{}, fmt.Errorf("asking at the terminal: %w", err)
	}
	p := s.approval(q.Digest, q.Action.Run, q.Decision.Policy)
	p.Granted, p.Reason, p.Terminal = granted, carrel.Text(reason), true
	return p, nil
}

func (s *Store) approval(digest carrel.Digest, run carrel.RunID, policy carrel.Digest) carrel.Approval {
	lifetime := s.Lifetime
	if lifetime <= 0 {
		lifetime = DefaultLifetime
	}
	now := s.now().UTC().Truncate(time.Second)
	return carrel.Approval{Action: digest, Run: run, Policy: policy, By: s.By, Time: now, Expires: now.Add(lifetime)}
}

// ErrAlreadyDenied is returned by Answer when a denial of the same action
// stands.
var ErrAlreadyDenied = errors.New("already denied")

// secondThoughts is how old a denial must be before whoever gave it may take
// it back: two people, or two clicks, at once end denied.
const secondThoughts = 10 * time.Second

// Answer stores the answer that a, an approve or deny action of an operator,
// gives to the action with digest a.SubjectDigest, asked under the given
// policy. The grant must cover a. Answers are durable before Answer returns.
// A living denial stands, unless the same person takes it back later.
func (s *Store) Answer(_ context.Context, g gate.Grant, a carrel.Action, policy carrel.Digest) (carrel.Approval, error) {
	if err := g.Covers(a); err != nil {
		return carrel.Approval{}, err
	}
	if a.Operation != carrel.OpApprove && a.Operation != carrel.OpDeny {
		return carrel.Approval{}, fmt.Errorf("answering: %s is no answer", a.Operation)
	}
	if _, err := carrel.ParseDigest(string(policy)); err != nil {
		return carrel.Approval{}, fmt.Errorf("answering: policy: %w", err)
	}
	p := s.approval(a.SubjectDigest, a.Run, policy)
	p.Granted, p.Reason = a.Operation == carrel.OpApprove, a.Reason
	return p, private.Locked(s.dir, func() error { return s.store(p) })
}

// store writes p and takes back a denial that it may take back. The lock on
// the directory is held, so that no fresh denial is taken back unseen.
func (s *Store) store(p carrel.Approval) error {
	if !p.Granted {
		return s.write(p)
	}
	denial, denied, err := s.read(p.Action, false)
	if err != nil {
		return err
	}
	if denied && s.now().Before(denial.Expires) {
		if denial.By != p.By {
			return fmt.Errorf("%w by %s (%s); only they can take it back, until %s", ErrAlreadyDenied,
				denial.By, denial.Reason, denial.Expires.Format(time.RFC3339))
		}
		if p.Time.Sub(denial.Time) < secondThoughts {
			return fmt.Errorf("%w by you just now (%s); to take it back, approve again in %v", ErrAlreadyDenied, denial.Reason, secondThoughts)
		}
	}
	if err := s.write(p); err != nil || !denied {
		return err
	}
	return s.remove(denial) // the grant is durable: dying here leaves the denial standing
}

// Lookup returns the stored answer to the action with this digest, for
// showing. It may have expired.
func (s *Store) Lookup(digest carrel.Digest) (answer carrel.Approval, found bool, err error) {
	return s.find(digest)
}
