package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Cache is a directory for the private layers of caches, of one workspace and
// for one run at a time: two desks do not meddle with each other's, and no
// layer lies below two mounts.
type Cache struct {
	Dir  string
	lock *os.File
}

// maxCaches bounds the runs that have a cache at once in one workspace.
const maxCaches = 64

// TakeCache returns the first cache of the workspace that no run uses.
func (w *Workspace) TakeCache() (*Cache, error) {
	for n := range maxCaches {
		dir := filepath.Join(w.opts.State, "caches", w.Key())
		if n > 0 {
			dir = fmt.Sprintf("%s-%d", dir, n+1)
		}
		lock, err := lockCache(dir)
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("taking a cache: %w", err)
		}
		now := time.Now()
		_ = os.Chtimes(lock.Name(), now, now) // when it was last used, for Prune
		return &Cache{dir, lock}, nil
	}
	return nil, fmt.Errorf("more than %d runs use a cache in %s; end one, or run with --cache none", maxCaches, w.root)
}

// Close gives the cache to the next run. What is in it stays.
func (c *Cache) Close() error { return c.lock.Close() }

func lockCache(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// caches removes those that no run has used for as long as desks are kept.
func (p *pruner) caches() error {
	dirs, err := filepath.Glob(filepath.Join(p.state, "caches", "*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		info, err := os.Stat(filepath.Join(dir, "lock"))
		if errors.Is(err, fs.ErrNotExist) {
			info, err = os.Stat(dir) // made before caches had locks
		}
		if err != nil || !p.expired(info.ModTime(), p.keep.Desks) {
			continue
		}
		lock, err := lockCache(dir)
		if err != nil {
			continue // in use
		}
		p.note(removeTree(dir))
		lock.Close()
	}
	return nil
}
