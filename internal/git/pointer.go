package git

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxSmall bounds the files that are read whole as data: pointers, HEAD, a
// reference, a configuration.
const maxSmall = 1 << 20

// followPointer follows the file top/.git to a git directory that points back:
// that of a linked worktree, or of a submodule.
func followPointer(top, dot string) (*Repo, error) {
	content, err := readSmall(dot)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnproven, err)
	}
	target, ok := strings.CutPrefix(line(content), "gitdir: ")
	if !ok || target == "" {
		return nil, fmt.Errorf("%w: %s is no pointer to a git directory", ErrUnproven, dot)
	}
	dir, err := resolve(top, target)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrUnproven, dot, err)
	}
	if common, err := worktreeCommon(dir, dot); err == nil {
		return &Repo{Top: top, Dir: dir, Common: common}, nil
	}
	if isGitDir(dir) && sameDir(workTreeOf(dir), top) {
		return &Repo{Top: top, Dir: dir, Common: dir}, nil
	}
	return nil, fmt.Errorf("%w: %s leads to %s, which does not point back", ErrUnproven, dot, dir)
}

// worktreeCommon returns the common directory of the linked worktree whose
// git directory is dir. The worktree proves itself: dir lies where git keeps
// worktrees of the common directory, and names dot as its working tree's file.
func worktreeCommon(dir, dot string) (string, error) {
	back, err := readSmall(filepath.Join(dir, "gitdir"))
	if err != nil {
		return "", err
	}
	pointed := line(back)
	if !filepath.IsAbs(pointed) {
		pointed = filepath.Join(dir, pointed)
	}
	if !sameDir(filepath.Dir(pointed), filepath.Dir(dot)) || filepath.Base(pointed) != ".git" {
		return "", fmt.Errorf("%s names another working tree", dir)
	}
	relative, err := readSmall(filepath.Join(dir, "commondir"))
	if err != nil {
		return "", err
	}
	common, err := resolve(dir, line(relative))
	if err != nil {
		return "", err
	}
	if filepath.Dir(dir) != filepath.Join(common, "worktrees") || !isGitDir(common) {
		return "", fmt.Errorf("%s is not a worktree of %s", dir, common)
	}
	return common, nil
}

// workTreeOf is core.worktree of the git directory, as submodules have it.
func workTreeOf(dir string) string {
	content, err := readSmall(filepath.Join(dir, "config"))
	if err != nil {
		return ""
	}
	tree := parseConfig(content)["core.worktree"]
	if tree == "" {
		return ""
	}
	resolved, err := resolve(dir, tree)
	if err != nil {
		return ""
	}
	return resolved
}

// readAlternates sorts the further object directories into those that belong
// to a repository of the same owner (or root) and the rest. Alternates of
// alternates are followed as deep as git does.
func (r *Repo) readAlternates() {
	seen := map[string]bool{filepath.Join(r.Common, "objects"): true}
	queue := []string{filepath.Join(r.Common, "objects")}
	for depth := 0; depth < 5 && len(queue) > 0; depth++ {
		var next []string
		for _, objects := range queue {
			for _, alt := range alternatesOf(objects) {
				if seen[alt] || len(seen) > 64 {
					continue
				}
				seen[alt] = true
				if !r.provenObjects(alt) {
					r.Unproven = append(r.Unproven, alt)
					continue
				}
				r.Alternates = append(r.Alternates, alt)
				next = append(next, alt)
			}
		}
		queue = next
	}
}

func alternatesOf(objects string) (out []string) {
	content, err := readSmall(filepath.Join(objects, "info", "alternates"))
	if err != nil {
		return nil
	}
	for l := range strings.Lines(string(content)) {
		l = strings.TrimRight(l, "\n")
		if l == "" || l[0] == '#' {
			continue
		}
		if !filepath.IsAbs(l) {
			l = filepath.Join(objects, l)
		}
		if resolved, err := filepath.EvalSymlinks(l); err == nil {
			l = resolved
		}
		out = append(out, filepath.Clean(l))
	}
	return out
}

func (r *Repo) provenObjects(objects string) bool {
	info, err := ownerOf(objects)
	return err == nil && (info.Uid == r.owner.uid || info.Uid == 0) &&
		filepath.Base(objects) == "objects" && isGitDir(filepath.Dir(objects))
}

// resolve makes target absolute from base and resolves its links.
func resolve(base, target string) (string, error) {
	if !filepath.IsAbs(target) {
		target = filepath.Join(base, target)
	}
	return filepath.EvalSymlinks(target)
}

func sameDir(a, b string) bool {
	ia, err := os.Stat(a)
	if err != nil {
		return false
	}
	ib, err := os.Stat(b)
	return err == nil && os.SameFile(ia, ib)
}

// readSmall reads a regular file without following a link at its end and
// without waiting for a FIFO.
func readSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, readOnly, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readRegular(f)
}

func readRegular(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", f.Name())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(b) > maxSmall {
		err = fmt.Errorf("%s is larger than %d bytes", f.Name(), maxSmall)
	}
	return b, err
}

// line is the first line, as git reads pointers: without its end.
func line(b []byte) string {
	first, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.TrimRight(string(first), "\r")
}
