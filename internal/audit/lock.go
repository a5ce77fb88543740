package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrBusy says that other processes kept the log locked for too long.
var ErrBusy = errors.New("the log is locked by another process")

// lock keeps other processes out of the log. Whoever wants it first takes the
// turn, then the lock, then gives the turn back: a process that writes without
// a pause cannot starve one that waits.
type lock struct {
	held, turn *os.File
	wait       time.Duration
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
	return &lock{held, turn, wait}, nil
}

func openLockFile(path string) (*os.File, error) {
	f, err := realDisk{}.open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	return f.(realFile).File, nil
}

// take waits for the lock, at most for the lock's bound.
func (l *lock) take(ctx context.Context) error {
	deadline := time.Now().Add(l.wait)
	if err := await(ctx, l.turn, deadline); err != nil {
		return err
	}
	err := await(ctx, l.held, deadline)
	return errors.Join(err, unlock(l.turn))
}

// wanted reports whether another process waits for the lock. In doubt one does.
func (l *lock) wanted() bool {
	ok, err := tryLock(l.turn)
	return !ok || err != nil || unlock(l.turn) != nil
}

func (l *lock) drop() error { return unlock(l.held) }

func (l *lock) close() { l.held.Close(); l.turn.Close() }

func await(ctx context.Context, f *os.File, deadline time.Time) error {
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		ok, err := tryLock(f)
		switch {
		case err != nil:
			return fmt.Errorf("locking %s: %w", f.Name(), err)
		case ok:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("%w (%s)", ErrBusy, f.Name())
		}
		time.Sleep(pause)
	}
}
