package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Difference is one path that two states of a repository have differently. An
// entry without a mode is not there.
type Difference struct {
	Path        string
	Before, Now Entry
}

// MergeBase returns the commit that two commits last had in common.
func (r *Repo) MergeBase(ctx context.Context, a, b string) (string, error) {
	out, err := r.output(ctx, "merge-base", a, b)
	if err != nil {
		return "", fmt.Errorf("%s and %s have no commit in common, or it was not fetched: %w", short(a), short(b), err)
	}
	return r.objectName(line(out))
}

// Between lists what commit to has differently from commit base, sorted by
// path.
func (r *Repo) Between(ctx context.Context, base, to string) ([]Difference, error) {
	now, err := r.All(ctx, to)
	if err != nil {
		return nil, err
	}
	return r.against(ctx, base, now)
}

// Staged lists what the index has differently from commit base. indexFile is
// another index than the repository's, as git names it to its hooks; "": none.
func (r *Repo) Staged(ctx context.Context, base, indexFile string) ([]Difference, error) {
	c := call{gitDir: r.Dir, command: []string{"ls-files", "--stage", "-z"}, as: r.owner}
	if indexFile != "" {
		if !filepath.IsAbs(indexFile) {
			indexFile = filepath.Join(r.Top, indexFile)
		}
		c.env = []string{"GIT_INDEX_FILE=" + indexFile}
	}
	out, err := run(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	now, err := parseIndex(out)
	if err != nil {
		return nil, err
	}
	return r.against(ctx, base, now)
}

// parseIndex reads lines of the form "MODE OBJECT STAGE\tPATH\0".
func parseIndex(out []byte) (map[string]Entry, error) {
	entries := map[string]Entry{}
	for row := range bytes.SplitSeq(out, []byte{0}) {
		if len(row) == 0 {
			continue
		}
		meta, path, ok := strings.Cut(string(row), "\t")
		fields := strings.Fields(meta)
		if !ok || len(fields) != 3 {
			return nil, errors.New("git ls-files: unexpected output")
		}
		if fields[2] != "0" {
			return nil, fmt.Errorf("%q is in conflict; resolve it first", path)
		}
		entries[path] = Entry{Mode: fields[0], Object: fields[1]}
	}
	return entries, nil
}

func (r *Repo) against(ctx context.Context, base string, now map[string]Entry) ([]Difference, error) {
	before, err := r.All(ctx, base)
	if err != nil {
		return nil, err
	}
	var out []Difference
	for path, e := range now {
		if before[path] != e {
			out = append(out, Difference{path, before[path], e})
		}
		delete(before, path)
	}
	for path, e := range before {
		out = append(out, Difference{Path: path, Before: e})
	}
	slices.SortFunc(out, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// blobsAtOnce is how many objects one git process is asked for.
const blobsAtOnce = 200

// ReadBlobs calls each with the content of every object, in order.
func (r *Repo) ReadBlobs(ctx context.Context, objects []string, each func(object string, content []byte)) error {
	p, err := r.pristine()
	if err != nil {
		return err
	}
	defer p.Close()
	for some := range slices.Chunk(objects, blobsAtOnce) {
		out, err := p.run(ctx, call{command: []string{"cat-file", "--batch"}, stdin: strings.NewReader(strings.Join(some, "\n") + "\n")})
		if err != nil {
			return fmt.Errorf("reading contents: %w", err)
		}
		for _, object := range some {
			head, rest, ok := bytes.Cut(out, []byte{'\n'})
			fields := strings.Fields(string(head))
			if !ok || len(fields) != 3 || fields[0] != object || fields[1] != "blob" {
				return fmt.Errorf("reading contents: git has no blob %s here: %.100q", short(object), head)
			}
			size, err := strconv.Atoi(fields[2])
			if err != nil || size < 0 || size >= len(rest) {
				return errors.New("git cat-file: unexpected output")
			}
			each(object, rest[:size])
			out = rest[size+1:]
		}
	}
	return nil
}
