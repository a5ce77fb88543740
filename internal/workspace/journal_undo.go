package workspace

import (
	"fmt"
	"path"
	"path/filepath"

	"github.com/carrel-dev/carrel"
)

// rollBack undoes the steps that were made, last first. What somebody altered
// since stays as it is, and what it replaced is kept beside it.
func (j *applyJournal) rollBack(t *applyTree) error {
	kept, err := j.undoAll(t)
	if err == nil && len(j.Steps) > 0 {
		err = t.mounts.sync()
	}
	if err == nil {
		err = j.tidy(t, kept)
	}
	if err != nil {
		return fmt.Errorf("taking back the half-made apply (the next carrel command tries again): %w", err)
	}
	if len(kept) > 0 {
		mount := t.mounts.of(path.Dir(string(kept[0])))
		return &KeptError{Change: j.Change, Dir: filepath.Join(string(j.Workspace), mount, j.Work), Paths: kept}
	}
	return nil
}

// KeptError says that an apply was taken back except for paths that somebody
// altered meanwhile.
type KeptError struct {
	Change carrel.ChangeID
	Dir    string // holds the other content of the paths
	Paths  []carrel.Text
}

// Error names the paths and where their other content is.
func (e *KeptError) Error() string {
	return fmt.Sprintf("the half-made apply of %s was taken back, except for %d of its paths, which were altered meanwhile (%q); their other content is kept in %s: compare, then delete it", e.Change, len(e.Paths), e.Paths[:min(len(e.Paths), maxNamed)], e.Dir)
}

func (j *applyJournal) undoAll(t *applyTree) (kept []carrel.Text, err error) {
	if j.Phase == phaseStaging {
		return nil, nil
	}
	for i := len(j.Steps) - 1; i >= 0; i-- {
		s := &j.Steps[i]
		left, err := j.undo(t, s)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s.Path, err)
		}
		if left {
			kept = append(kept, s.Path)
		}
	}
	return kept, nil
}
