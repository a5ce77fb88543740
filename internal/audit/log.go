package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// Options say where a log is.
type Options struct {
	Dir    string // the log's directory
	KeyDir string // where its signing key is, or will be made
	// Second is the file that keeps the newest checkpoint outside Dir, best on
	// another file system or at least outside what is backed up with Dir.
	Second string
	// LockWait bounds waiting for a process that holds the log and does not
	// write to it; 0: five minutes.
	LockWait time.Duration
	// OnSlow, if set, is called once, beside Open, when that takes longer than
	// a person waits without a word.
	OnSlow func()
	// Redact, if set, takes secrets out of every record before it is hashed.
	Redact *Redactor

	disk         disk          // nil: the real one
	segmentBytes int64         // 0: 64 MiB
	boot         string        // empty: of the machine
	slow         time.Duration // before OnSlow; 0: five seconds
}

const (
	// defaultLockWait is longer than disks and kernels have been seen to stand
	// still under load, 40 seconds: a run must not end because of that.
	defaultLockWait = 5 * time.Minute
	defaultSlow     = 5 * time.Second
	defaultSegment  = 64 << 20
)

// ErrClosed says that the log was closed by its owner.
var ErrClosed = errors.New("the log is closed")

// Log appends to a log. It is safe for concurrent use, and several processes
// may each have one open on the same directory. After any failure it stays
// failed, so that nothing goes on unrecorded.
type Log struct {
	keys   keyring
	redact *Redactor     // nil: nothing
	notify chan struct{} // wakes the committer; holds one
	idle   chan struct{} // closed when the committer has ended
	age    *time.Timer   // wakes the committer for records nobody waits for

	storeMu sync.Mutex // held by whoever uses store
	store   *store

	mu   sync.Mutex // guards what follows
	next *batch
	runs sequence
	err  error // why no more records are taken
	shut bool  // Close was called
	// crowd is how many waited when the last batch was answered, and so how
	// many may be about to append.
	crowd int
}

// Open opens the log, making it and its key on first use. It refuses a log
// that is behind the second place (ErrRolledBack), one that is damaged other
// than by an interrupted write (ErrDamaged), one whose key is missing
// (ErrNoKey), and files or keys that other users could reach.
func Open(ctx context.Context, o Options) (*Log, error) {
	s, keys, err := openStore(o)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	slow := o.whenSlow()
	err = s.with(ctx, func() error { return s.begin(keys) })
	slow.Stop()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the log: %w", err), s.close())
	}
	l := &Log{keys: keys, redact: o.Redact, store: s, next: newBatch(), runs: sequence{},
		notify: make(chan struct{}, 1), idle: make(chan struct{})}
	l.age = time.AfterFunc(time.Hour, l.wakeAged)
	go l.commitBatches() // ends in Close
	return l, nil
}

func (o Options) whenSlow() *time.Timer {
	return time.AfterFunc(cmp.Or(o.slow, defaultSlow), func() {
		if o.OnSlow != nil {
			o.OnSlow()
		}
	})
}

func openStore(o Options) (*store, keyring, error) {
	if o.Dir == "" || o.KeyDir == "" || o.Second == "" {
		return nil, keyring{}, errors.New("directory, key directory and second place are all needed")
	}
	if o.disk == nil {
		o.disk = realDisk{}
	}
	if o.LockWait == 0 {
		o.LockWait = defaultLockWait
	}
	if o.segmentBytes == 0 {
		o.segmentBytes = defaultSegment
	}
	if o.boot == "" {
		o.boot = bootID()
	}
	s := &store{dir: o.Dir, disk: o.disk, rotate: o.segmentBytes, boot: o.boot}
	keys := keyring{o.KeyDir, o.disk}
	if err := privateDir(o.Dir); err != nil {
		return nil, keys, err
	}
	var err error
	if s.lock, err = openLock(o.Dir, o.LockWait); err != nil {
		return nil, keys, err
	}
	if err = s.openFiles(o.Second); err != nil {
		return nil, keys, errors.Join(err, s.close())
	}
	return s, keys, nil
}

func (s *store) openFiles(second string) (err error) {
	const flag = os.O_RDWR | os.O_CREATE
	if s.tailF, err = s.disk.open(filepath.Join(s.dir, tailFile), flag); err != nil {
		return err
	}
	if s.side.hashes, err = s.disk.open(filepath.Join(s.dir, verify.HashesFile), flag); err != nil {
		return err
	}
	if s.side.index, err = s.disk.open(filepath.Join(s.dir, verify.IndexFile), flag); err != nil {
		return err
	}
	s.second, err = openSecond(s.disk, second)
	return err
}

// begin checks, with the lock held, what is checked once per opening, and
// records what was found.
func (s *store) begin(keys keyring) error {
	private, err := keys.check(s.tail.Size == 0)
	if err != nil {
		return err
	}
	public, err := s.settleKey(keys, private)
	if err != nil {
		return fmt.Errorf("finishing a change of the log's key: %w", err)
	}
	c, ok, err := s.second.checkpoint(public)
	if err != nil {
		return fmt.Errorf("checking the second place: %w", err)
	}
	if ok {
		if err := s.contains(c.Size, c.Root, s.second.path); err != nil {
			return err
		}
		if err := s.mendCheckpoint(); err != nil {
			return err
		}
	}
	if _, marked, err := s.second.read(); err != nil {
		return err
	} else if !marked && s.tail.Size > 0 {
		s.note(nil, "the second place %s held no readable head: had the log been rolled back before this record, only the signed checkpoint could tell", s.second.path)
	}
	if err := s.keepReserve(); err != nil {
		return err
	}
	if s.tail.Size == 0 {
		s.note(nil, "created: %s", public)
	}
	if len(s.notes) == 0 {
		return nil
	}
	return s.commit(nil, func() {}, func() {})
}

// commit appends lines and publishes what follows from them.
func (s *store) commit(lines []*line, hashed, durable func()) error {
	if err := s.grow(lines, hashed, durable); err != nil {
		return err
	}
	return s.publishGrown()
}

// grow appends lines, with the log's own notes before them, and calls durable
// when they are, and the second place knows them. What else follows from them
// is left to publishGrown, or to the next grow, which sees to it while it waits
// for the disk: the next opening would make up for it. hashed waits until the
// lines have their leaves.
func (s *store) grow(lines []*line, hashed, durable func()) error {
	at := now()
	notes, err := s.takeNotes(at)
	if err != nil {
		return err
	}
	if len(notes) > 0 {
		lines = append(notes, lines...)
	}
	published := s.publishing()
	err = s.write(lines)
	if err := errors.Join(err, <-published); err != nil {
		s.lastWords(err)
		return err
	}
	hashed()
	s.advance(lines)
	s.grown = &at
	if err := s.second.mark(s.tail.Size, s.tree.Root()); err != nil {
		return err
	}
	durable()
	return nil
}

// publishing publishes what the batch before left, beside a write that does
// not begin a segment: that would change the tail.
func (s *store) publishing() <-chan error {
	done := make(chan error, 1)
	if s.grown == nil || s.tail.Offset >= s.rotate {
		done <- s.publishGrown()
		return done
	}
	go func() { done <- s.publishGrown() }() // one answer, for which there is room
	return done
}

// Append implements gate.Log: it returns once the record would survive a
// power cut. ctx bounds only the wait for room in the batch; then the answer
// is waited for, since a record cannot be called back. A record that is too
// large (ErrTooLarge) or malformed is refused, and the log goes on.
func (l *Log) Append(ctx context.Context, r carrel.Record) error {
	b, err := l.add(ctx, r, true)
	if err != nil {
		return fmt.Errorf("recording %s: %w", r.Kind, err)
	}
	<-b.done
	if b.err != nil {
		return fmt.Errorf("recording %s: %w", r.Kind, b.err)
	}
	return nil
}

// Enqueue implements gate.Log: the record joins the next batch, which is
// written within maxAge, or with the next Append. A kill before that can lose
// it; a failure to write it fails every later call.
func (l *Log) Enqueue(ctx context.Context, r carrel.Record) error {
	if _, err := l.add(ctx, r, false); err != nil {
		return fmt.Errorf("recording %s: %w", r.Kind, err)
	}
	return nil
}

// Flush returns once everything enqueued before is durable.
func (l *Log) Flush(ctx context.Context) error {
	l.mu.Lock()
	b, err := l.next, l.err
	if err == nil && len(b.lines) > 0 {
		b.due = true
		l.wake()
	} else if err == nil {
		l.mu.Unlock()
		// An earlier batch may still be on its way; the committer holds storeMu.
		l.storeMu.Lock()
		defer l.storeMu.Unlock()
		return l.Err()
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	<-b.done
	return b.err
}

// Err returns why the log takes no more records, or nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Head returns the log's size and root as of the last batch or opening of
// this handle.
func (l *Log) Head() (size int64, root tlog.Hash) {
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	return l.store.tail.Size, l.store.root()
}

// Close writes what is enqueued and closes the log. It returns an error if
// anything handed to the log did not become durable.
func (l *Log) Close() error {
	err := l.Flush(context.Background())
	if errors.Is(err, ErrClosed) {
		return nil
	}
	l.mu.Lock()
	if l.shut {
		l.mu.Unlock()
		return nil
	}
	l.shut = true
	_ = l.setErr(ErrClosed)
	close(l.notify)
	l.mu.Unlock()
	l.age.Stop()
	<-l.idle
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	return errors.Join(err, l.store.close())
}
