package workspace

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
)

// ChangeState is what became of a change.
type ChangeState string

// The states of a change. Pending is the only one that can be applied.
const (
	ChangePending    ChangeState = "pending"
	ChangeApplied    ChangeState = "applied"
	ChangeDiscarded  ChangeState = "discarded"
	ChangeSuperseded ChangeState = "superseded" // a newer change of the same desk replaced it
)

// Errors about changes.
var (
	ErrNoChange    = errors.New("no change")
	ErrNewerChange = errors.New("a newer change exists")
)

// ChangeEntry is what is kept about a frozen change beside its manifest.
type ChangeEntry struct {
	Version   int             `json:"v"`
	ID        carrel.ChangeID `json:"id"`
	Digest    carrel.Digest   `json:"digest"`   // Change.Digest
	Manifest  carrel.Digest   `json:"manifest"` // of the stored manifest
	Run       carrel.RunID    `json:"run"`
	Desk      carrel.DeskID   `json:"desk"`
	Workspace carrel.Text     `json:"workspace"`
	Taken     time.Time       `json:"taken"`
	State     ChangeState     `json:"state"`
	Note      carrel.Text     `json:"note,omitempty"` // of the last change of state: the branch, the reason
	Shown     time.Time       `json:"shown,omitzero"` // when review last showed it
	Changed   time.Time       `json:"changed"`        // when the state last changed
}

// entryVersion is the version of ChangeEntry's format.
const entryVersion = 1

// maxManifest bounds a manifest when it is read back.
const maxManifest = 256 << 20

func (w *Workspace) changeFile(id carrel.ChangeID) string { return changeFile(w.opts.State, id) }

func changeFile(state string, id carrel.ChangeID) string {
	return filepath.Join(state, "changes", string(id)+".json")
}

// Change returns the entry of a change by id, of any workspace.
func (w *Workspace) Change(id carrel.ChangeID) (ChangeEntry, error) {
	return ReadChange(w.opts.State, id)
}

// ReadChange returns the change with this id, of whatever workspace, or
// ErrNoChange.
func ReadChange(state string, id carrel.ChangeID) (ChangeEntry, error) {
	var e ChangeEntry
	if err := carrel.CheckID(string(id), "chg_"); err != nil {
		return e, err
	}
	err := readJSON(changeFile(state, id), &e)
	if errors.Is(err, fs.ErrNotExist) {
		return e, fmt.Errorf("%s: %w", id, ErrNoChange)
	}
	if err == nil && e.ID != id {
		err = fmt.Errorf("%s names %s", changeFile(state, id), e.ID)
	}
	if err == nil {
		err = checkVersion("change "+string(id), e.Version, entryVersion)
	}
	return e, err
}

// Changes lists this workspace's changes, oldest first.
func (w *Workspace) Changes() ([]ChangeEntry, error) {
	ids, err := listIDs(w.index("changes"), "chg_")
	if err != nil {
		return nil, err
	}
	out := make([]ChangeEntry, 0, len(ids))
	for _, id := range ids {
		e, err := w.Change(carrel.ChangeID(id))
		if errors.Is(err, ErrNoChange) || errors.Is(err, ErrOtherVersion) {
			continue // pruned meanwhile, never completed, or not this version's to judge
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// LatestChange is the newest change of this workspace that is pending, else
// ErrNoChange.
func (w *Workspace) LatestChange() (ChangeEntry, error) {
	return w.newest(func(e ChangeEntry) bool { return e.State == ChangePending })
}

// LatestApplied is the change of this workspace that was applied last,
// whichever was made last, else ErrNoChange.
func (w *Workspace) LatestApplied() (ChangeEntry, error) {
	all, err := w.Changes()
	if err != nil {
		return ChangeEntry{}, err
	}
	var last ChangeEntry
	for _, e := range all {
		if e.State == ChangeApplied && !e.Changed.Before(last.Changed) {
			last = e
		}
	}
	if last.ID == "" {
		return ChangeEntry{}, ErrNoChange
	}
	return last, nil
}

// ShownChange is the pending change that review showed last, else
// ErrNoChange. If a newer pending one exists it is returned with an error
// that wraps ErrNewerChange and names both.
func (w *Workspace) ShownChange() (ChangeEntry, error) {
	all, err := w.Changes()
	if err != nil {
		return ChangeEntry{}, err
	}
	var shown, latest ChangeEntry
	for _, e := range all {
		if !e.Shown.IsZero() && e.Shown.After(shown.Shown) {
			shown = e
		}
		if e.State == ChangePending {
			latest = e
		}
	}
	switch {
	case shown.ID == "":
		return ChangeEntry{}, fmt.Errorf("%w has been reviewed here yet; run carrel review", ErrNoChange)
	case latest.ID > shown.ID:
		return shown, fmt.Errorf("%w: %s was shown, %s is newer; review again or name one", ErrNewerChange, shown.ID, latest.ID)
	case shown.State != ChangePending:
		return ChangeEntry{}, fmt.Errorf("%w is pending: %s, shown last, is %s", ErrNoChange, shown.ID, shown.State)
	}
	return shown, nil
}

func (w *Workspace) newest(want func(ChangeEntry) bool) (ChangeEntry, error) {
	ids, err := listIDs(w.index("changes"), "chg_")
	if err != nil {
		return ChangeEntry{}, err
	}
	var foreign error
	for _, id := range slices.Backward(ids) {
		e, err := w.Change(carrel.ChangeID(id))
		switch {
		case errors.Is(err, ErrNoChange):
			continue
		case errors.Is(err, ErrOtherVersion):
			foreign = cmp.Or(foreign, err)
			continue
		case err != nil || want(e):
			return e, err
		}
	}
	if foreign != nil {
		return ChangeEntry{}, fmt.Errorf("%w that this version can read is pending for %s: %w", ErrNoChange, w.root, foreign)
	}
	return ChangeEntry{}, fmt.Errorf("%w is pending for %s", ErrNoChange, w.root)
}

// LoadChange returns the frozen change of an entry, verified against its
// digests.
func (w *Workspace) LoadChange(e ChangeEntry) (*carrel.Change, error) {
	raw, err := w.opts.Blobs.Read(e.Manifest, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", e.ID, err)
	}
	var c carrel.Change
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", e.ID, err)
	}
	if err := checkVersion("the manifest of "+string(e.ID), c.Version, ChangeVersion); err != nil {
		return nil, err
	}
	digest, err := c.Digest()
	if err != nil {
		return nil, err
	}
	if c.ID != e.ID || !digest.Equal(e.Digest) {
		return nil, fmt.Errorf("manifest of %s holds another change (%s)", e.ID, digest.Short())
	}
	return &c, nil
}

// listIDs returns the identifiers that are file names in dir, sorted, which
// is by age.
func listIDs(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing %s: %w", strings.TrimSuffix(prefix, "_"), err)
	}
	var ids []string
	for _, e := range entries {
		if carrel.CheckID(e.Name(), prefix) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}
