package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/blob"
)

// Retention says how long what nobody asked for is kept. Zero keeps for ever.
type Retention struct {
	Desks   time.Duration // desks without pending work, since their last run
	Work    time.Duration // desks with pending work, and pending changes
	Changes time.Duration // changes that were applied, discarded or superseded
	Trash   time.Duration // layers that were discarded or reset
}

// Pruned says what Prune removed.
type Pruned struct {
	Desks, Changes, Contents int
	Bytes                    int64 // of contents
}

// Prune removes what retention no longer keeps, of all workspaces. Desks at
// which somebody sits stay. It must not run beside a capture: the engine holds
// the installation's lock.
func Prune(ctx context.Context, state string, blobs *blob.Store, keep Retention, inUse func(carrel.Digest) bool) (Pruned, error) {
	p := pruner{state: state, blobs: blobs, keep: keep, now: time.Now()}
	for _, step := range []func() error{p.trash, p.desks, p.changes, p.index} {
		if err := errors.Join(ctx.Err(), step()); err != nil {
			return p.done, fmt.Errorf("pruning: %w", err)
		}
	}
	needed, err := p.needed()
	if err != nil {
		return p.done, fmt.Errorf("pruning: %w", err)
	}
	if blobs != nil {
		p.done.Contents, p.done.Bytes, err = blobs.Remove(func(d carrel.Digest) bool {
			return needed[d] || inUse != nil && inUse(d)
		})
	}
	return p.done, err
}

type pruner struct {
	state string
	blobs *blob.Store
	keep  Retention
	now   time.Time
	done  Pruned
}

func (p *pruner) expired(since time.Time, after time.Duration) bool {
	return after > 0 && p.now.Sub(since) > after
}

func (p *pruner) trash() error {
	dir := filepath.Join(p.state, "trash")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && !p.expired(ctimeOfInfo(info), p.keep.Trash) {
			continue
		}
		if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruner) desks() error {
	dir := filepath.Join(p.state, "desks")
	ids, err := listIDs(dir, "dsk_")
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := p.desk(filepath.Join(dir, id)); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruner) desk(dir string) error {
	s := &Seat{dir: dir}
	lock, err := lockDesk(dir, "prune")
	if errors.Is(err, ErrDeskBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	after := p.keep.Desks
	if err := readJSON(filepath.Join(dir, deskFile), &s.meta); err == nil {
		if pending, err := s.readPending(); err != nil || len(pending.Paths) > 0 || s.meta.Open {
			after = p.keep.Work
		}
	} else if info, err := os.Stat(dir); err == nil {
		s.meta.Used = info.ModTime() // half made
	}
	if !p.expired(s.meta.Used, after) {
		return nil
	}
	p.done.Desks++
	return removeTree(dir)
}

func (p *pruner) changes() error {
	dir := filepath.Join(p.state, "changes")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		var c ChangeEntry
		file := filepath.Join(dir, e.Name())
		if readJSON(file, &c) != nil {
			continue
		}
		after := p.keep.Changes
		if c.State == ChangePending {
			after = p.keep.Work
		}
		if !p.expired(c.Changed, after) {
			continue
		}
		if err := os.Remove(file); err != nil {
			return err
		}
		p.done.Changes++
	}
	return nil
}

// index drops the names of desks and changes that are gone.
func (p *pruner) index() error {
	for kind, there := range map[string]string{"desks": "desks/%s", "changes": "changes/%s.json"} {
		names, err := filepath.Glob(filepath.Join(p.state, "workspaces", "*", kind, "*_*"))
		if err != nil {
			return err
		}
		for _, name := range names {
			at := filepath.Join(p.state, fmt.Sprintf(there, filepath.Base(name)))
			if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// needed collects the contents that the remaining changes and desks name.
func (p *pruner) needed() (map[carrel.Digest]bool, error) {
	out := map[carrel.Digest]bool{}
	w := &Workspace{opts: Options{State: p.state, Blobs: p.blobs}}
	ids, err := filepath.Glob(filepath.Join(p.state, "changes", "chg_*.json"))
	if err != nil {
		return nil, err
	}
	for _, file := range ids {
		var e ChangeEntry
		if err := readJSON(file, &e); err != nil {
			return nil, err
		}
		out[e.Manifest] = true
		c, err := w.LoadChange(e)
		if err != nil {
			return nil, err // without it nothing can be told apart: keep all
		}
		for _, files := range [][]carrel.FileChange{c.Files, c.Withheld} {
			for _, f := range files {
				out[f.Digest], out[f.Before.Digest] = true, true
			}
		}
	}
	desks, err := filepath.Glob(filepath.Join(p.state, "desks", "dsk_*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range desks {
		pending, err := (&Seat{dir: dir}).readPending()
		if err != nil {
			return nil, err
		}
		for _, f := range pending.Paths {
			out[f.Before.Digest] = true
		}
	}
	return out, nil
}
