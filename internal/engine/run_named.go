package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// latestRun names, wherever RUN is asked for, the newest run in the workspace.
// It is what counts where none is named.
const latestRun = "latest"

func isLatest(name string) bool { return name == "" || name == latestRun }

// runNamed is the run of an identifier, or the latest. Where this workspace has
// none that is the newest of all, and is said: the log is of every workspace,
// and is read elsewhere. "" if there is no run at all.
func (e *Records) runNamed(ctx context.Context, name string) (carrel.RunID, error) {
	if !isLatest(name) {
		return carrel.RunID(name), checkID(name, "run_")
	}
	ids, err := e.listRuns()
	if err != nil || len(ids) == 0 {
		return "", err
	}
	if run := e.newestIn(ids, e.root(ctx)); run != "" {
		return run, nil
	}
	fmt.Fprintf(e.host.Stderr, "carrel: no run was in %s; this is the newest of all, %s in %s\n", terminal.Escape(e.host.Cwd), ids[0], terminal.Escape(e.workspaceOfRun(ids[0])))
	return ids[0], nil
}

// noRun says that there was none to speak of in a place.
func noRun(root string) error {
	return &hintError{fmt.Errorf("there is no run in %s", root), "carrel run -- COMMAND"}
}

// root is the workspace that the current directory is in: the top of its
// repository, if it is in one.
func (e *Records) root(ctx context.Context) string {
	dir := e.host.Cwd
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if repo, err := git.Open(ctx, dir); err == nil && !repo.Bare {
		return repo.Top
	}
	return dir
}

// newestIn returns the first of the runs, newest first, that was in the
// workspace; "" for none.
func (e *Records) newestIn(ids []carrel.RunID, root string) carrel.RunID {
	i := slices.IndexFunc(ids, func(id carrel.RunID) bool { return e.workspaceOfRun(id) == root })
	if i < 0 {
		return ""
	}
	return ids[i]
}

// workspaceOfRun is where a run was; "" if that cannot be read: one that cannot
// hides no other.
func (e *Records) workspaceOfRun(id carrel.RunID) string {
	var r struct {
		Workspace carrel.Text `json:"workspace"`
	}
	if b, err := os.ReadFile(e.runFile(id)); err != nil || json.Unmarshal(b, &r) != nil {
		return ""
	}
	return string(r.Workspace)
}

// runFile is where the result of a run is kept.
func (e *Records) runFile(id carrel.RunID) string { return e.state("runs", string(id)+".json") }

// listRuns returns the ids of all runs, newest first.
func (e *Records) listRuns() ([]carrel.RunID, error) {
	entries, err := os.ReadDir(e.state("runs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing runs: %w", err)
	}
	var ids []carrel.RunID
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), ".json"); ok && carrel.CheckID(id, "run_") == nil {
			ids = append(ids, carrel.RunID(id))
		}
	}
	slices.Reverse(ids)
	return ids, nil
}
