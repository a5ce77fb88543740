package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Modes of tree entries, as git spells them.
const (
	ModeFile       = "100644"
	ModeExecutable = "100755"
	ModeLink       = "120000"
	ModeSubmodule  = "160000"
)

// Entry is one path of a commit.
type Entry struct {
	Mode   string
	Object string
}

// maxListed bounds the arguments of one listing, well below what the kernel
// takes.
const maxListed = 64 << 10

// ReadFile returns the content of path in commit. The error wraps
// fs.ErrNotExist if the commit has no such file. Links are not followed.
func (r *Repo) ReadFile(ctx context.Context, commit, path string) ([]byte, error) {
	entries, err := r.Entries(ctx, commit, []string{path})
	if err != nil {
		return nil, err
	}
	e, ok := entries[path]
	if !ok || (e.Mode != ModeFile && e.Mode != ModeExecutable) {
		return nil, fmt.Errorf("%s in commit %s: %w", path, short(commit), fs.ErrNotExist)
	}
	return r.ReadBlob(ctx, e.Object)
}

// ReadBlob returns the content of an object.
func (r *Repo) ReadBlob(ctx context.Context, object string) ([]byte, error) {
	p, err := r.pristine()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.run(ctx, call{command: []string{"cat-file", "blob", object}})
}

// Entries looks paths up in commit. Paths it does not have are left out.
func (r *Repo) Entries(ctx context.Context, commit string, paths []string) (map[string]Entry, error) {
	entries := make(map[string]Entry, len(paths))
	if commit == "" || len(paths) == 0 {
		return entries, nil
	}
	p, err := r.pristine()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	for len(paths) > 0 {
		n := batch(paths)
		command := append([]string{"ls-tree", "-z", commit, "--"}, paths[:n]...)
		out, err := p.run(ctx, call{command: command})
		if err != nil {
			return nil, fmt.Errorf("listing commit %s: %w", short(commit), err)
		}
		if err := parseTree(out, entries); err != nil {
			return nil, err
		}
		paths = paths[n:]
	}
	return entries, nil
}

// batch is how many of paths fit into one listing: at least one.
func batch(paths []string) int {
	size := 0
	for i, p := range paths {
		if size += len(p) + 1; size > maxListed && i > 0 {
			return i
		}
	}
	return len(paths)
}

// All returns every path of commit; submodules are entries, not entered.
func (r *Repo) All(ctx context.Context, commit string) (map[string]Entry, error) {
	entries := make(map[string]Entry)
	if commit == "" {
		return entries, nil
	}
	p, err := r.pristine()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	out, err := p.run(ctx, call{command: []string{"ls-tree", "-r", "-z", commit}})
	if err != nil {
		return nil, fmt.Errorf("listing commit %s: %w", short(commit), err)
	}
	return entries, parseTree(out, entries)
}

var errListing = errors.New("git ls-tree: unexpected output")

// parseTree reads lines of the form "MODE TYPE OBJECT\tPATH\0".
func parseTree(out []byte, into map[string]Entry) error {
	for len(out) > 0 {
		row, rest, ok := bytes.Cut(out, []byte{0})
		if !ok {
			return errListing
		}
		out = rest
		meta, path, ok := strings.Cut(string(row), "\t")
		fields := strings.Fields(meta)
		if !ok || len(fields) != 3 {
			return errListing
		}
		into[path] = Entry{Mode: fields[0], Object: fields[2]}
	}
	return nil
}

func short(commit string) string { return commit[:min(12, len(commit))] }
