package git

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Draft builds one commit on top of a base in a pristine git directory.
// Nothing of it is in the repository before Publish. Its methods are not safe
// for concurrent use.
type Draft struct {
	*pristine
	base  string // commit; empty before the first one
	index string
	tree  map[string]Entry // of base
}

// Draft begins a commit on top of base, which may be empty.
func (r *Repo) Draft(ctx context.Context, base string) (*Draft, error) {
	tree, err := r.All(ctx, base)
	if err != nil {
		return nil, err
	}
	p, err := r.pristine()
	if err != nil {
		return nil, err
	}
	d := &Draft{pristine: p, base: base, index: filepath.Join(p.dir, "index"), tree: tree}
	if base != "" {
		if _, err := d.git(ctx, nil, "read-tree", base); err != nil {
			d.Close()
			return nil, fmt.Errorf("reading commit %s: %w", short(base), err)
		}
	}
	return d, nil
}

// git runs a command on the draft's own index, in an empty working tree.
func (d *Draft) git(ctx context.Context, stdin io.Reader, command ...string) ([]byte, error) {
	env := []string{"GIT_INDEX_FILE=" + d.index, "GIT_WORK_TREE=" + filepath.Join(d.dir, "info")}
	return d.run(ctx, call{command: command, stdin: stdin, env: env, patterns: command[0] == "check-ignore"})
}

// Base returns what the base commit has at path.
func (d *Draft) Base(path string) (Entry, bool) {
	e, ok := d.tree[path]
	return e, ok
}

// Within returns the submodule of the base that path lies in, if any.
func (d *Draft) Within(path string) string {
	for at := path; at != "."; at = filepath.Dir(at) {
		if d.tree[at].Mode == ModeSubmodule {
			return at
		}
	}
	return ""
}

// Attributes are what the base's .gitattributes say of one path.
type Attributes struct {
	Text     string // "set", "unset", "auto" or "" (unspecified)
	EOL      string // "lf", "crlf" or ""
	Filter   string // an external program: the path cannot be committed here
	Encoding string // working-tree-encoding: likewise
	Ident    bool   // $Id$ is expanded: likewise
}

// Attributes reads the base's attributes of paths, as data. Paths without any
// are left out.
func (d *Draft) Attributes(ctx context.Context, paths []string) (map[string]Attributes, error) {
	out, err := d.git(ctx, list(paths), "check-attr", "--cached", "--stdin", "-z", "text", "crlf", "eol", "filter", "working-tree-encoding", "ident")
	if err != nil {
		return nil, fmt.Errorf("reading attributes: %w", err)
	}
	found := make(map[string]Attributes)
	fields := strings.Split(string(out), "\x00")
	for ; len(fields) >= 3; fields = fields[3:] {
		if fields[2] == "unspecified" {
			continue
		}
		a := found[fields[0]]
		a.set(fields[1], fields[2])
		found[fields[0]] = a
	}
	return found, nil
}

func (a *Attributes) set(name, value string) {
	switch name {
	case "text", "crlf": // crlf is the old spelling; git lists text first, and text wins
		if a.Text == "" {
			a.Text = map[string]string{"set": "set", "unset": "unset", "input": "set", "auto": "auto"}[value]
		}
	case "eol":
		a.EOL = value
	case "filter":
		if value != "unset" {
			a.Filter = value
		}
	case "working-tree-encoding":
		if value != "unset" && !strings.EqualFold(value, "UTF-8") {
			a.Encoding = value
		}
	case "ident":
		a.Ident = value == "set"
	}
}

// Ignored returns which of paths git would not add: not tracked in the base
// and matched by its .gitignore files, with those in rules (path to content,
// nil for a deleted one) in their place.
func (d *Draft) Ignored(ctx context.Context, paths []string, rules map[string][]byte) (map[string]bool, error) {
	for path, content := range rules {
		if err := d.place(ctx, path, content); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
	// git reads a .gitignore that is not in the working tree from the index
	// only if the index says that it is left out on purpose.
	files, err := d.git(ctx, nil, "ls-files", "-z")
	if err != nil {
		return nil, fmt.Errorf("reading .gitignore files: %w", err)
	}
	var ignoreFiles []string
	for path := range strings.SplitSeq(string(files), "\x00") {
		if path == ".gitignore" || strings.HasSuffix(path, "/.gitignore") {
			ignoreFiles = append(ignoreFiles, path)
		}
	}
	if _, err := d.git(ctx, list(ignoreFiles), "update-index", "-z", "--skip-worktree", "--stdin"); err != nil {
		return nil, fmt.Errorf("reading .gitignore files: %w", err)
	}
	// check-ignore takes patterns and refuses to take them literally; "./"
	// keeps a name that begins with a colon from being magic.
	dotted := make([]string, len(paths))
	for i, path := range paths {
		dotted[i] = "./" + path
	}
	out, err := d.git(ctx, list(dotted), "check-ignore", "-z", "--stdin")
	if exit, ok := err.(*exitError); err != nil && (!ok || exit.code != 1) { // 1: none is ignored
		return nil, fmt.Errorf("checking what is ignored: %w", err)
	}
	ignored := make(map[string]bool)
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		ignored[strings.TrimPrefix(path, "./")] = path != ""
	}
	return ignored, nil
}

// place puts content into the draft's index, or removes path from it.
func (d *Draft) place(ctx context.Context, path string, content []byte) error {
	if content == nil {
		_, err := d.git(ctx, list([]string{path}), "update-index", "-z", "--force-remove", "--stdin")
		return err
	}
	object, err := d.git(ctx, bytes.NewReader(content), "hash-object", "-w", "--no-filters", "--stdin")
	if err != nil {
		return err
	}
	row := fmt.Sprintf("%s %s\t%s\x00", ModeFile, bytes.TrimSpace(object), path)
	_, err = d.git(ctx, strings.NewReader(row), "update-index", "-z", "--index-info")
	return err
}

// list is paths as git reads them with -z.
func list(paths []string) io.Reader {
	if len(paths) == 0 {
		return strings.NewReader("")
	}
	return strings.NewReader(strings.Join(paths, "\x00") + "\x00")
}
