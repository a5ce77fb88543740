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
	"github.com/carrel-dev/carrel/internal/gate"
)

// Retention says how long what nobody asked for is kept. Zero keeps for ever.
type Retention struct {
	Desks   time.Duration // desks without pending work, and caches, since their last run
	Work    time.Duration // desks with pending work, and pending changes: only with PruneWork
	Changes time.Duration // changes that were applied, discarded or superseded
	Trash   time.Duration // layers that were discarded or reset
}

// Pruned says what Prune removed.
type Pruned struct {
	Desks, Changes, Contents int
	Bytes                    int64 // of contents
}

// Prune removes what retention no longer keeps, of all workspaces. Desks at
// which somebody sits stay. One thing that cannot be removed, or read, stops
// nothing else: the error names each, and what to do. It must not run beside a
// capture: the engine holds the installation's lock.
func Prune(ctx context.Context, state string, blobs *blob.Store, keep Retention, inUse func(carrel.Digest) bool) (Pruned, error) {
	return PruneWork(ctx, gate.Grant{}, state, blobs, keep, inUse)
}

// PruneWorkAction is the action that PruneWork needs a grant for.
func PruneWorkAction(unused time.Duration) carrel.Action {
	return carrel.Action{Operation: carrel.OpRevoke, Subject: "unapplied work", Reason: carrel.Text("not used for " + unused.String())}
}

// PruneWork is Prune that removes unapplied work as well, of whatever desk has
// not been used for keep.Work. The grant must cover PruneWorkAction(keep.Work).
func PruneWork(ctx context.Context, g gate.Grant, state string, blobs *blob.Store, keep Retention, inUse func(carrel.Digest) bool) (Pruned, error) {
	if keep.Work > 0 {
		if err := g.Covers(PruneWorkAction(keep.Work)); err != nil {
			return Pruned{}, fmt.Errorf("pruning unapplied work: %w", err)
		}
	}
	p := pruner{state: state, blobs: blobs, keep: keep, now: time.Now()}
	for _, step := range []func() error{p.trash, p.desks, p.caches, p.changes, p.index, p.contents(inUse)} {
		if err := ctx.Err(); err != nil {
			return p.done, fmt.Errorf("pruning: %w", err)
		}
		if err := step(); err != nil {
			p.problems = append(p.problems, err)
		}
	}
	if err := errors.Join(p.problems...); err != nil {
		return p.done, fmt.Errorf("pruning: %w", err)
	}
	return p.done, nil
}

type pruner struct {
	state    string
	blobs    *blob.Store
	keep     Retention
	now      time.Time
	done     Pruned
	problems []error
}

// note keeps an error, if there is one, and lets the pruning go on.
func (p *pruner) note(err error) {
	if err != nil {
		p.problems = append(p.problems, err)
	}
}

// contents removes what no kept change or desk names. If one of those cannot
// be read it might name anything: then all contents stay.
func (p *pruner) contents(inUse func(carrel.Digest) bool) func() error {
	return func() error {
		before := len(p.problems)
		needed, err := p.needed()
		if err != nil || p.blobs == nil {
			return err
		}
		if len(p.problems) > before {
			return errors.New("until that is done no contents are removed: they might be needed")
		}
		p.done.Contents, p.done.Bytes, err = p.blobs.Remove(func(d carrel.Digest) bool {
			return needed[d] || inUse != nil && inUse(d)
		})
		return err
	}
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
		p.note(removeTree(filepath.Join(dir, e.Name())))
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
		p.note(p.desk(filepath.Join(dir, id)))
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
	err = readJSON(filepath.Join(dir, deskFile), &s.meta)
	switch {
	case err == nil:
		if pending, err := s.readPending(); err != nil || len(pending.Paths) > 0 || s.meta.Open || s.meta.Version != deskVersion {
			after = p.keep.Work
		}
	case errors.Is(err, fs.ErrNotExist): // half made
		if info, err := os.Stat(dir); err == nil {
			s.meta.Used = info.ModTime()
		}
	default:
		return fmt.Errorf("desk %s: %w; if its work is not wanted any more, delete %s", filepath.Base(dir), err, dir)
	}
	if !p.expired(s.meta.Used, after) {
		return nil
	}
	if err := removeTree(dir); err != nil {
		return err
	}
	p.done.Desks++
	return nil
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
		if c.State == ChangePending || c.Version != entryVersion {
			after = p.keep.Work
		}
		if !p.expired(c.Changed, after) {
			continue
		}
		if err := os.Remove(file); err != nil {
			p.note(err)
			continue
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
		c, manifest, err := w.loadEntry(file)
		if err != nil {
			p.note(fmt.Errorf("%w: what it needs cannot be told; if the change is not wanted any more, delete %s", err, file))
			continue
		}
		out[manifest] = true
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
			p.note(fmt.Errorf("desk %s: %w; if its work is not wanted any more, delete %s", filepath.Base(dir), err, dir))
			continue
		}
		for _, f := range pending.Paths {
			out[f.Before.Digest] = true
		}
	}
	return out, nil
}

// loadEntry reads a listed change with its manifest.
func (w *Workspace) loadEntry(file string) (*carrel.Change, carrel.Digest, error) {
	var e ChangeEntry
	if err := readJSON(file, &e); err != nil {
		return nil, "", err
	}
	if err := checkVersion("change "+string(e.ID), e.Version, entryVersion); err != nil {
		return nil, "", err
	}
	c, err := w.LoadChange(e)
	return c, e.Manifest, err
}
