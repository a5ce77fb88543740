package view

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

const (
	hideDepth   = 6     // directories below the workspace that ** reaches
	hideEntries = 20000 // entries looked at for **; more is an error, never a silent miss
	hideMatches = 256   // files that can be hidden: each is a mount
)

// hide lays an empty file or directory over what the user wants hidden, at
// both places where the workspace is seen.
func (b *builder) hide() error {
	seen, pinned := map[string]bool{}, map[string]bool{}
	for _, pattern := range b.Hide {
		found, err := b.matches(pattern)
		if err != nil {
			return fmt.Errorf("hide %s: %w", pattern, err)
		}
		if len(found) > 0 {
			b.plan.Hidden = append(b.plan.Hidden, pattern)
		}
		for _, rel := range found {
			if seen[rel] {
				continue
			}
			seen[rel] = true
			b.pin(path.Dir(rel), pinned)
			b.cover(rel)
		}
		if len(seen) > hideMatches {
			return fmt.Errorf("hide %s: more than %d files; hide their directory instead", pattern, hideMatches)
		}
	}
	return nil
}

// pin mounts a directory of the workspace, and those above it, over
// themselves, so that the agent cannot move one away with what is hidden in
// it, where a later run at this desk would not find it to hide. An overlay
// moves no directory of the workspace anyway.
func (b *builder) pin(dir string, pinned map[string]bool) {
	if dir == "." || pinned[dir] || !slices.ContainsFunc(b.Staged, func(m sandbox.Mount) bool { return m.Kind == sandbox.MountBind && m.Writable }) {
		return
	}
	pinned[dir] = true
	b.pin(path.Dir(dir), pinned)
	for _, root := range b.roots() {
		at := filepath.Join(root, dir)
		// Not by add: what is pinned can be hidden itself.
		b.mounts = append(b.mounts, sandbox.Mount{Kind: sandbox.MountSame, Target: at, Source: at, Why: "holds what is hidden"})
	}
}

// roots are the places where the workspace is seen.
func (b *builder) roots() []string {
	if b.Workspace == Workspace {
		return []string{Workspace}
	}
	return []string{b.Workspace, Workspace}
}

func (b *builder) cover(rel string) {
	fi, err := os.Lstat(filepath.Join(b.Workspace, rel))
	if err != nil {
		return
	}
	for _, root := range b.roots() {
		m := sandbox.Mount{Kind: sandbox.MountFile, Target: filepath.Join(root, rel), Content: []byte{}, Why: "hidden"}
		if fi.IsDir() {
			m = sandbox.Mount{Kind: sandbox.MountTmpfs, Target: m.Target, Mode: 0o555, Size: 4096, NoExec: true, Why: "hidden"}
		}
		b.add(m)
	}
}

// matches returns what a pattern means: a path, a pattern of one level each,
// or with ** of any level. Paths are relative to the workspace.
func (b *builder) matches(pattern string) ([]string, error) {
	rel := strings.TrimSuffix(pattern, "/")
	if filepath.IsAbs(rel) || strings.HasPrefix(rel, "~/") {
		full := b.abs(rel)
		if within(full, Workspace) {
			full = filepath.Join(b.Workspace, strings.TrimPrefix(full, Workspace))
		}
		if !within(full, b.Workspace) || full == b.Workspace {
			return nil, fmt.Errorf("it is not in the workspace; what is outside is not visible anyway")
		}
		rel = strings.TrimPrefix(full, b.Workspace+"/")
	}
	rel = path.Clean(rel)
	if rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return nil, fmt.Errorf("it must lie in the workspace")
	}
	if _, err := path.Match(rel, ""); err != nil {
		return nil, err
	}
	if strings.Contains(rel, "**") {
		return b.search(rel)
	}
	var out []string
	found, err := fs.Glob(os.DirFS(b.Workspace), rel)
	for _, f := range found {
		if !b.throughLink(f) {
			out = append(out, f)
		}
	}
	return out, err
}

// throughLink reports whether a path leads through or to a link: what it
// points to is hidden under its own name.
func (b *builder) throughLink(rel string) bool {
	hops, _, err := walk(filepath.Join(b.Workspace, rel))
	return err != nil || len(hops) > 0
}

// search walks the upper levels of the workspace for a pattern with **. It
// skips what package managers and git fill.
func (b *builder) search(pattern string) (out []string, err error) {
	entries := 0
	err = fs.WalkDir(os.DirFS(b.Workspace), ".", func(p string, d fs.DirEntry, err error) error {
		if entries++; entries > hideEntries {
			return fmt.Errorf("the workspace has more than %d entries in its first %d levels; name the directories", hideEntries, hideDepth)
		}
		if err != nil || p == "." {
			return nil
		}
		hit := matchDeep(strings.Split(pattern, "/"), strings.Split(p, "/"))
		if hit && d.Type()&fs.ModeSymlink == 0 {
			out = append(out, p)
		}
		if d.IsDir() && (hit || filled[d.Name()] || strings.Count(p, "/") >= hideDepth) {
			return fs.SkipDir
		}
		return nil
	})
	return out, err
}

// filled are directories whose content comes from elsewhere.
var filled = map[string]bool{".git": true, "node_modules": true, "vendor": true, "target": true, ".venv": true, "venv": true, "__pycache__": true}

// matchDeep matches names against a pattern in which ** stands for any number
// of directories.
func matchDeep(pattern, names []string) bool {
	if len(pattern) == 0 {
		return len(names) == 0
	}
	if pattern[0] == "**" {
		return matchDeep(pattern[1:], names) || len(names) > 0 && matchDeep(pattern, names[1:])
	}
	if len(names) == 0 {
		return false
	}
	ok, _ := path.Match(pattern[0], names[0])
	return ok && matchDeep(pattern[1:], names[1:])
}
