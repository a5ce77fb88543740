// Package git is the one way Carrel looks at a repository on the host.
//
// It owns a fixed argument prefix and environment for every git process
// (harden.go), and it reads what a repository says about itself as data where
// that is enough. It is trusted with running a program that executes what
// repositories say: no configuration, hook, filter, remote or attribute of a
// repository may run anything through it, however hostile the repository is.
package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Errors of Open, to be told apart with errors.Is.
var (
	// ErrNotRepository says that no repository was found.
	ErrNotRepository = errors.New("not a git repository")
	// ErrUnproven says that something calls itself a repository but does not
	// prove it: a pointer without its back-pointer, another owner, parts missing.
	ErrUnproven = errors.New("not followed")
)

// Object formats.
const (
	SHA1   = "sha1"
	SHA256 = "sha256"
)

// Repo is what a repository said about itself when it was opened. It is data
// and safe for concurrent use.
type Repo struct {
	Top     string // of the working tree, absolute, links resolved; empty when bare
	Dir     string // git directory of this working tree
	Common  string // git directory that holds objects and branches; Dir unless a linked worktree
	Bare    bool
	Shallow bool
	Head    string // object name of the commit checked out; empty before the first commit
	Branch  string // branch checked out; empty when detached
	Format  string // SHA1 or SHA256
	// Alternates are further object directories that proved themselves;
	// Unproven are those that did not, and are not to be shown to anybody.
	Alternates []string
	Unproven   []string

	owner  ownership
	tables bool // references are not files
}

type ownership struct{ uid, gid uint32 }

// Open finds the repository that dir lies in and reads its state without
// running git. The error wraps ErrNotRepository if there is none and
// ErrUnproven if there is one that must not be followed.
func Open(ctx context.Context, dir string) (*Repo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening repository: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("opening repository: %w", err)
	}
	r, err := discover(dir)
	if err != nil {
		return nil, fmt.Errorf("opening repository at %s: %w", dir, err)
	}
	if err := r.readState(ctx); err != nil {
		return nil, fmt.Errorf("reading repository %s: %w", r.Dir, err)
	}
	return r, nil
}

// discover walks up from dir, as git does, and stops where another file
// system begins.
func discover(dir string) (*Repo, error) {
	start, err := ownerOf(dir)
	if err != nil {
		return nil, err
	}
	device := start.Dev
	for at := dir; ; at = filepath.Dir(at) {
		info, err := ownerOf(at)
		if err != nil || info.Dev != device {
			return nil, ErrNotRepository
		}
		r, err := tryTop(at)
		if errors.Is(err, fs.ErrNotExist) && isGitDir(at) {
			r, err = &Repo{Dir: at, Common: at, Bare: true}, nil
		}
		switch {
		case err == nil:
			return r, r.checkOwner(start.Uid)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case at == filepath.Dir(at):
			return nil, ErrNotRepository
		}
	}
}

// tryTop reads top/.git; its error is fs.ErrNotExist if there is none.
func tryTop(top string) (*Repo, error) {
	dot := filepath.Join(top, ".git")
	info, err := os.Lstat(dot)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir() && isGitDir(dot):
		return &Repo{Top: top, Dir: dot, Common: dot}, nil
	case info.IsDir() && hasGitParts(dot):
		return nil, fmt.Errorf("%w: %s keeps its objects or references behind links", ErrUnproven, dot)
	case info.IsDir(): // an empty .git is no repository; git goes on looking, too
		return nil, fs.ErrNotExist
	case info.Mode().IsRegular():
		return followPointer(top, dot)
	}
	return nil, fmt.Errorf("%w: %s is neither a directory nor a file", ErrUnproven, dot)
}

// checkOwner accepts a repository whose git directories belong to the owner of
// its working tree, which must be the owner of the directory asked for or
// whoever runs Carrel: a .git planted higher up by somebody else is not ours.
func (r *Repo) checkOwner(asked uint32) error {
	home := r.Top
	if r.Bare {
		home = r.Dir
	}
	top, err := ownerOf(home)
	if err != nil {
		return err
	}
	if self := uint32(os.Geteuid()); top.Uid != asked && top.Uid != self {
		return fmt.Errorf("%w: %s belongs to uid %d", ErrUnproven, home, top.Uid)
	}
	for _, dir := range []string{r.Dir, r.Common} {
		info, err := ownerOf(dir)
		if err != nil {
			return err
		}
		if info.Uid != top.Uid {
			return fmt.Errorf("%w: %s belongs to uid %d, the working tree to uid %d", ErrUnproven, dir, info.Uid, top.Uid)
		}
	}
	r.owner = ownership{top.Uid, top.Gid}
	return nil
}

// isGitDir reports whether dir has what every git directory has.
func isGitDir(dir string) bool {
	head, err := os.Lstat(filepath.Join(dir, "HEAD"))
	return err == nil && (head.Mode().IsRegular() || head.Mode().Type() == fs.ModeSymlink) &&
		isDir(filepath.Join(dir, "objects")) && isDir(filepath.Join(dir, "refs"))
}

// hasGitParts is git's own, laxer test: what passes only this one git would
// take for a repository, so it must not count as an ordinary directory.
func hasGitParts(dir string) bool {
	for _, name := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || !info.IsDir() {
			return false
		}
	}
	_, err := os.Lstat(filepath.Join(dir, "HEAD"))
	return err == nil
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// abbreviate is the branch of a full reference name, or the name itself.
func abbreviate(ref string) string { return strings.TrimPrefix(ref, "refs/heads/") }
