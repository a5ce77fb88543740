package workspace

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// applyPhase says how far an apply got.
type applyPhase string

// The phases. Until swapping the tree has not been touched. When done all steps
// are made: what is in the tree stays if the log has the apply as done, too.
const (
	phaseStaging  applyPhase = "staging"
	phaseSwapping applyPhase = "swapping"
	phaseDone     applyPhase = "done"
)

// applyJournal is what an apply leaves on disk so that, whatever happens to
// it, the tree ends up with all of the change or none. What each step did is
// not written down: it can be seen from what lies where.
type applyJournal struct {
	Version   int             `json:"v"`
	Change    carrel.ChangeID `json:"change"`
	Run       carrel.RunID    `json:"run,omitempty"`    // that made the change
	Action    carrel.ActionID `json:"action,omitempty"` // that publishes it
	Workspace carrel.Text     `json:"workspace"`
	RootIno   uint64          `json:"root_ino"`
	Work      string          `json:"work"`             // directory at the workspace's top
	Mounts    []carrel.Text   `json:"mounts,omitempty"` // inside the workspace, with such a directory at their top, too
	Phase     applyPhase      `json:"phase"`
	Steps     []applyStep     `json:"steps"`

	file string
	// recorded says that the log has the apply as done.
	recorded bool
	work     map[carrel.Text]int // descriptors of Work, by mount
}

// in is the work directory that a step needs: on the mount of its path.
func (j *applyJournal) in(s *applyStep) int {
	if fd, ok := j.work[s.Mount]; ok {
		return fd
	}
	return -1
}

// journalVersion is the version of applyJournal's format.
const journalVersion = 1

// insideEntry is what was staged below a directory that the change makes.
type insideEntry struct {
	Path   carrel.Text   `json:"path"`
	Ino    uint64        `json:"ino"`
	Digest carrel.Digest `json:"digest,omitempty"`
}

func appliesDir(state string) string { return filepath.Join(state, "applies") }

// begin makes the journal, then the work directories: a private one at the top
// of the workspace and of each mount inside it that is written to, on the file
// system that the files will be moved on.
func (p *applyPlan) begin(action carrel.ActionID) (*applyJournal, error) {
	var r [8]byte
	_, _ = rand.Read(r[:]) // never fails
	c := p.opts.Change
	j := &applyJournal{
		Version: journalVersion, Change: c.ID, Run: c.Run, Action: action, Workspace: c.Workspace, RootIno: p.tree.st.Ino,
		Work: workPrefix + hex.EncodeToString(r[:]), Mounts: p.mountsOfSteps(), work: map[carrel.Text]int{},
		file: filepath.Join(appliesDir(p.opts.State), string(c.ID)+".json"),
	}
	if err := carrel.CheckID(string(c.ID), "chg_"); err != nil {
		return nil, err
	}
	if err := j.save(phaseStaging); err != nil {
		return nil, err
	}
	var err error
	for _, m := range append([]carrel.Text{""}, j.Mounts...) { // the top first: without it nothing was begun
		if err == nil {
			err = j.makeWork(p.tree, m)
		}
	}
	if err == nil {
		err = j.makeRooms(p.steps)
	}
	if err == nil {
		err = p.point("begun")
	}
	if err != nil {
		return nil, errors.Join(err, j.rollBack(p.tree))
	}
	return j, nil
}

// mountsOfSteps are the mounts inside the tree that steps are made on.
func (p *applyPlan) mountsOfSteps() []carrel.Text {
	var out []carrel.Text
	for i := range p.steps {
		if m := p.steps[i].Mount; m != "" && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

func (j *applyJournal) save(phase applyPhase) error {
	j.Phase = phase
	if err := writeJSON(j.file, j); err != nil {
		return fmt.Errorf("writing the journal of the apply: %w", err)
	}
	return nil
}

// made makes steps durable that are all made.
func (j *applyJournal) made(t *applyTree) error {
	if err := t.mounts.sync(); err != nil {
		return fmt.Errorf("writing to disk: %w", err)
	}
	return j.save(phaseDone)
}

// finished reports whether the tree keeps what the apply did. A journal that
// names no action is of a release that wrote this phase once it was sure.
func (j *applyJournal) finished() bool {
	return j.Phase == phaseDone && (j.recorded || j.Action == "")
}

// tidy removes the work directories, unless something is kept in them, and
// the journal.
func (j *applyJournal) tidy(t *applyTree, kept []carrel.Text) error {
	j.closeWork()
	if len(kept) == 0 {
		if err := j.clear(t); err != nil {
			return err
		}
	}
	return os.Remove(j.file)
}

func (j *applyJournal) closeWork() {
	for m, fd := range j.work {
		unix.Close(fd)
		delete(j.work, m)
	}
}

// clear removes the work directories. The one at the workspace's top goes
// last: without it nothing is left to be taken back.
func (j *applyJournal) clear(t *applyTree) error {
	for _, m := range append(slices.Clone(j.Mounts), "") {
		_, root, err := t.mounts.above(string(m))
		if err == nil {
			err = j.dispose(root)
		}
		if err != nil {
			return fmt.Errorf("removing %s: %w", filepath.Join(string(m), j.Work), err)
		}
	}
	return nil
}
