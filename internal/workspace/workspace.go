// Package workspace owns what an agent works on: seats at a workspace, the
// private layers their changes land in, the frozen changes taken from those
// layers, and their way back into the tree.
//
// It is trusted to keep the user's tree untouched until an apply that was
// granted, and to show in a change exactly what an apply would do. It reads
// layers, copies and repositories as data written by an enemy: beneath a
// descriptor, following no link, opening nothing but regular files and
// directories, running nothing.
package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/internal/blob"
	"github.com/carrel-dev/carrel/internal/git"
)

// ErrRefused is wrapped by errors about a directory that cannot be a
// workspace; the text says what to do instead.
var ErrRefused = errors.New("not usable as a workspace")

// Options say where things are.
type Options struct {
	State string      // Carrel's state directory, 0700
	Home  string      // the invoking user's home, "" if unknown
	Blobs *blob.Store // where frozen content goes
}

// Workspace is one directory tree that agents may work on. It is safe for
// concurrent use.
type Workspace struct {
	root string
	repo *git.Repo // nil outside git
	opts Options
}

// Open finds the workspace that holds dir: the top of its git work tree, or
// dir itself outside git. It reads only; errors wrap ErrRefused where another
// directory would do.
func Open(ctx context.Context, dir string, opts Options) (*Workspace, error) {
	dir, err := realDir(dir)
	if err != nil {
		return nil, err
	}
	repo, err := openRepository(ctx, dir)
	if err != nil {
		return nil, err
	}
	w := &Workspace{root: dir, repo: repo, opts: opts}
	if repo != nil {
		w.root = repo.Top
	}
	if err := w.refuse(); err != nil {
		return nil, err
	}
	return w, nil
}

// openRepository opens the repository around dir; nil if there is none. One
// that does not prove itself is an error rather than none: treating such a
// tree as plain would stage its git directory as ordinary files.
func openRepository(ctx context.Context, dir string) (*git.Repo, error) {
	repo, err := git.Open(ctx, dir)
	switch {
	case errors.Is(err, git.ErrNotRepository):
		return nil, nil
	case errors.Is(err, git.ErrUnproven):
		return nil, fmt.Errorf("%w; repair it (git worktree repair) or work elsewhere: %w", err, ErrRefused)
	case err != nil:
		return nil, err
	case repo.Bare && filepath.Base(repo.Dir) == ".git":
		return nil, fmt.Errorf("%s is %w: it is the git directory of a repository; start in the work tree", repo.Dir, ErrRefused)
	case repo.Bare:
		return nil, fmt.Errorf("%s is %w: it is a bare repository, which has no files to work on; make a work tree (git worktree add)", repo.Dir, ErrRefused)
	}
	return repo, nil
}

func realDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("workspace %s: %w", dir, err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("workspace %s does not exist: %w", dir, ErrRefused)
	}
	if err != nil {
		return "", fmt.Errorf("workspace %s: %w", dir, err)
	}
	f, err := os.Open(real)
	if err != nil {
		return "", fmt.Errorf("workspace %s cannot be read: %w: %w", dir, ErrRefused, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.IsDir() {
		return "", fmt.Errorf("workspace %s is not a directory: %w", dir, ErrRefused)
	}
	if _, err := f.Readdirnames(1); errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("workspace %s cannot be listed: %w", dir, ErrRefused)
	}
	return real, nil
}

// refuse names the roots that would hand the agent more than a project.
func (w *Workspace) refuse() error {
	state, home := resolved(w.opts.State), resolved(w.opts.Home)
	switch {
	case w.root == "/":
		return fmt.Errorf("/ is %w: it is the whole machine; start in a project's directory", ErrRefused)
	case home != "" && within(home, w.root):
		return fmt.Errorf("%s is %w: it holds your home directory; start in a project's directory below it", w.root, ErrRefused)
	case state != "" && within(state, w.root):
		return fmt.Errorf("%s is %w: it holds Carrel's own state (%s), which agents must not see; start in a directory that does not, or move the state", w.root, ErrRefused, state)
	case state != "" && within(w.root, state):
		return fmt.Errorf("%s is %w: it lies in Carrel's own state directory", w.root, ErrRefused)
	}
	return nil
}

// resolved follows links as far as the path exists.
func resolved(p string) string {
	if p == "" {
		return ""
	}
	p = filepath.Clean(p)
	for rest := ""; ; {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(real, rest)
		}
		parent := filepath.Dir(p)
		if parent == p {
			return filepath.Join(p, rest)
		}
		rest, p = filepath.Join(filepath.Base(p), rest), parent
	}
}

// within reports whether p is dir or below it; both are clean.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// Root is the workspace's absolute path with links resolved.
func (w *Workspace) Root() string { return w.root }

// Repository is the workspace's git repository; nil outside git.
func (w *Workspace) Repository() *git.Repo { return w.repo }

// linked reports whether the git directory lies outside the workspace.
func (w *Workspace) linked() bool {
	return w.repo != nil && (!within(w.repo.Dir, w.root) || w.repo.Common != w.repo.Dir)
}

// Key names the workspace in the state directory.
func (w *Workspace) Key() string {
	sum := sha256.Sum256([]byte(w.root))
	return hex.EncodeToString(sum[:16])
}

// index is the directory that lists this workspace's desks and changes, so
// that finding them does not depend on how many other workspaces there are.
func (w *Workspace) index(kind string) string {
	return filepath.Join(w.opts.State, "workspaces", w.Key(), kind)
}
