package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/carrel-dev/carrel/verify"
)

// ErrBusy says that another process kept the log locked for too long without
// writing to it.
var ErrBusy = errors.New("the log is locked by another process")

// lock keeps other processes out of the log. Whoever wants it first takes the
// turn, then the lock, then gives the turn back: a process that writes without
// a pause cannot starve one that waits.
type lock struct {
	held, turn *os.File
	moves      []string      // files of which whoever waited, committed or signed alters one
	wait       time.Duration // bounds waiting while none of them changes
}

func openLock(dir string, wait time.Duration) (*lock, error) {
	held, err := openLockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	turn, err := openLockFile(filepath.Join(dir, "turn"))
	if err != nil {
		held.Close()
		return nil, err
	}
	return &lock{held, turn, []string{turn.Name(), filepath.Join(dir, tailFile), filepath.Join(dir, verify.CheckpointFile)}, wait}, nil
}

func openLockFile(path string) (*os.File, error) {
	f, err := realDisk{}.open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	return f.(realFile).File, nil
}

// take waits for the lock. A log that many processes write to is waited for as
// long as it moves, since nothing may go unrecorded because the disk is slow;
// one that somebody holds and does not write to, at most for the lock's bound.
func (l *lock) take(ctx context.Context) error {
	p := standstill{lock: l}
	if err := await(ctx, l.turn, p.over); err != nil {
		return err
	}
	err := await(ctx, l.held, p.over)
	if err == nil && !p.deadline.IsZero() { // others may wait, too: the queue moves
		_, _ = l.turn.WriteAt(strconv.AppendInt(nil, time.Now().UnixNano(), 10), 0)
	}
	return errors.Join(err, unlock(l.turn))
}

// wanted reports whether another process waits for the lock. In doubt one does.
func (l *lock) wanted() bool {
	ok, err := tryLock(l.turn)
	return !ok || err != nil || unlock(l.turn) != nil
}

func (l *lock) drop() error { return unlock(l.held) }

func (l *lock) close() { l.held.Close(); l.turn.Close() }

// standstill is what one wait for the lock has seen of the log.
type standstill struct {
	*lock
	seen     []byte    // of the files that move, when the wait for them began
	deadline time.Time // zero: nothing was waited for yet
}

// over reports whether the log has stood still for the lock's bound.
func (p *standstill) over() bool {
	if !p.deadline.IsZero() && time.Now().Before(p.deadline) {
		return false
	}
	var now []byte
	for _, path := range p.moves {
		content, _ := os.ReadFile(path) // unreadable: it stands still
		now = append(now, content...)
	}
	if !p.deadline.IsZero() && bytes.Equal(now, p.seen) {
		return true
	}
	p.seen, p.deadline = now, time.Now().Add(p.wait)
	return false
}

// await polls for the lock of a file until it has it or over says so.
func await(ctx context.Context, f *os.File, over func() bool) error {
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		ok, err := tryLock(f)
		switch {
		case err != nil:
			return fmt.Errorf("locking %s: %w", f.Name(), err)
		case ok:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case over():
			return fmt.Errorf("%w (%s)", ErrBusy, f.Name())
		}
		time.Sleep(pause)
	}
}
