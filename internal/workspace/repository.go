package workspace

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Repository is what can be known of a git repository by reading it as data.
// No git program runs: what a repository says must not be obeyed on the host.
type Repository struct {
	Top     string // of the work tree; "" outside git
	Dir     string // git directory of this work tree, absolute
	Common  string // common git directory; Dir unless this is a linked work tree
	Commit  string // full object name of HEAD; "" before the first commit
	Branch  string // short name; "" when HEAD is detached
	Shallow bool
	Modules bool // has submodules: they are recorded and not entered
	Foreign bool // references in a format that is not read here
}

// Linked reports whether the work tree's git directory lies elsewhere.
func (r Repository) Linked() bool {
	return r.Top != "" && (!within(r.Dir, r.Top) || r.Common != r.Dir)
}

// maxGitFile bounds the small files of a git directory.
const maxGitFile = 1 << 20

// findRepository looks for the work tree around dir. A .git that does not
// prove itself is an error rather than "no repository": treating such a tree
// as plain would stage its git directory as ordinary files.
func findRepository(dir string) (Repository, error) {
	for top := dir; ; top = filepath.Dir(top) {
		if bareAt(top) {
			return Repository{}, fmt.Errorf("%s is a bare repository, which has no files to work on; make a work tree (git worktree add): %w", top, ErrRefused)
		}
		info, err := os.Lstat(filepath.Join(top, ".git"))
		switch {
		case err == nil && info.IsDir():
			if !gitDirAt(filepath.Join(top, ".git")) {
				break // an empty or foreign .git directory: git goes on looking, too
			}
			return readRepository(Repository{Top: top, Dir: filepath.Join(top, ".git")})
		case err == nil && info.Mode().IsRegular():
			return linkedRepository(top)
		case err == nil:
			return Repository{}, fmt.Errorf("%s/.git is neither a directory nor a file; make it a real one: %w", top, ErrRefused)
		}
		if top == "/" {
			return Repository{}, nil
		}
	}
}

// gitDirAt applies git's own test: HEAD, objects and refs.
func gitDirAt(dir string) bool {
	for _, name := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || !info.IsDir() {
			return false
		}
	}
	_, err := os.Lstat(filepath.Join(dir, "HEAD"))
	return err == nil
}

// bareAt reports whether dir itself is a git directory without a work tree.
func bareAt(dir string) bool {
	if filepath.Base(dir) == ".git" || !gitDirAt(dir) {
		return gitDirAt(dir)
	}
	_, err := os.Lstat(filepath.Join(dir, ".git"))
	return errors.Is(err, fs.ErrNotExist)
}

// linkedRepository follows a .git file. It is followed only if the directory
// it names is a git directory of the same owner that points back here.
func linkedRepository(top string) (Repository, error) {
	link := filepath.Join(top, ".git")
	dir, err := pointer(link, "gitdir: ", top)
	if err != nil {
		return Repository{}, err
	}
	refuse := func(why string) (Repository, error) {
		return Repository{}, fmt.Errorf("%s names %s, %s; it is not followed. Repair it (git worktree repair) or work elsewhere: %w", link, dir, why, ErrRefused)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	} else {
		return refuse("which cannot be reached")
	}
	common := dir
	if _, err := os.Lstat(filepath.Join(dir, "commondir")); err == nil {
		if common, err = pointer(filepath.Join(dir, "commondir"), "", dir); err != nil {
			return Repository{}, err
		}
	}
	switch {
	case !gitDirAt(common):
		return refuse("whose common directory is no git directory")
	case !sameOwner(top, dir) || !sameOwner(top, common):
		return refuse("which belongs to another user")
	case !pointsBack(dir, common, top):
		return refuse("which does not point back here")
	}
	return readRepository(Repository{Top: top, Dir: dir, Common: common})
}

// pointer reads a file that holds one path.
func pointer(file, prefix, base string) (string, error) {
	s, err := gitText(file)
	if err != nil {
		return "", err
	}
	p, ok := strings.CutPrefix(strings.TrimRight(s, "\r\n"), prefix)
	if !ok || p == "" || strings.ContainsAny(p, "\n\x00") {
		return "", fmt.Errorf("%s does not hold a path: %w", file, ErrRefused)
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(base, p)
	}
	return filepath.Clean(p), nil
}

// pointsBack checks the back-pointer: gitdir for a linked work tree,
// core.worktree for a submodule or a separate git directory.
func pointsBack(dir, common, top string) bool {
	if dir != common {
		back, err := pointer(filepath.Join(dir, "gitdir"), "", dir)
		return err == nil && resolved(back) == filepath.Join(top, ".git")
	}
	cfg, err := gitText(filepath.Join(dir, "config"))
	if err != nil {
		return false
	}
	for line := range strings.SplitSeq(cfg, "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && strings.EqualFold(strings.TrimSpace(key), "worktree") {
			p := strings.Trim(strings.TrimSpace(value), `"`)
			if !filepath.IsAbs(p) {
				p = filepath.Join(dir, p)
			}
			return resolved(p) == top
		}
	}
	return false
}

func sameOwner(a, b string) bool {
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	if errA != nil || errB != nil {
		return false
	}
	return ia.Sys().(*syscall.Stat_t).Uid == ib.Sys().(*syscall.Stat_t).Uid
}

func readRepository(r Repository) (Repository, error) {
	if r.Common == "" {
		r.Common = r.Dir
	}
	head, err := gitText(filepath.Join(r.Dir, "HEAD"))
	if err != nil {
		return Repository{}, err
	}
	head = strings.TrimSpace(head)
	ref, symbolic := strings.CutPrefix(head, "ref: ")
	switch {
	case !symbolic && objectName(head):
		r.Commit = head
	case symbolic && ref == "refs/heads/.invalid":
		r.Foreign = true
	case symbolic && filepath.IsLocal(ref):
		r.Branch = strings.TrimPrefix(ref, "refs/heads/")
		r.Commit = r.resolve(ref)
	default:
		return Repository{}, fmt.Errorf("%s/HEAD is not understood: %w", r.Dir, ErrRefused)
	}
	_, err = os.Lstat(filepath.Join(r.Common, "shallow"))
	r.Shallow = err == nil
	_, err = os.Lstat(filepath.Join(r.Top, ".gitmodules"))
	r.Modules = err == nil
	return r, nil
}

// resolve looks a reference up, loose first; "" if it does not exist yet.
func (r Repository) resolve(ref string) string {
	if s, err := gitText(filepath.Join(r.Common, ref)); err == nil && objectName(strings.TrimSpace(s)) {
		return strings.TrimSpace(s)
	}
	f, err := openRegular(filepath.Join(r.Common, "packed-refs"))
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, of, ok := strings.Cut(lines.Text(), " "); ok && of == ref && objectName(name) {
			return name
		}
	}
	return ""
}

func objectName(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// gitText reads a small regular file of a git directory.
func gitText(path string) (string, error) {
	f, err := openRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxGitFile+1))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	if len(b) > maxGitFile {
		return "", fmt.Errorf("%s is longer than %d bytes: %w", path, maxGitFile, ErrRefused)
	}
	return string(b), nil
}

// openRegular opens a regular file and nothing that would block or act when
// opened. The last component may not be a link.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is not a regular file: %w", path, ErrRefused)
	}
	return f, nil
}
