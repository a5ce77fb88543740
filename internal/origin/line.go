package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
)

// ErrNoLine says that the file has no such line, or is no text.
var ErrNoLine = errors.New("no such line")

// Line says where a line of a file comes from. content is the file as it is in
// the working tree, path its path in the workspace.
func (f *Finder) Line(ctx context.Context, path string, content []byte, line int) (Answer, error) {
	a := Answer{Path: path, Line: line, How: Unknown}
	text, err := nthLine(content, line)
	if err != nil {
		return a, fmt.Errorf("%s:%d: %w", path, line, err)
	}
	a.Text = carrel.Text(text)
	if err := f.prepare(ctx); err != nil {
		return a, err
	}
	a.Lost = f.lost
	at := version{path, content, line}
	if f.Repo != nil && f.Repo.Head != "" {
		if at, a.Commit, err = f.committed(ctx, at); err != nil {
			return a, err
		}
	}
	return a, f.trace(ctx, &a, at)
}

// version is one version of a file and a line in it.
type version struct {
	path    string
	content []byte
	line    int
}

// committed follows a line to the commit that brought it; without one it is
// the working tree's own.
func (f *Finder) committed(ctx context.Context, at version) (version, string, error) {
	head, err := f.Repo.ReadFile(ctx, f.Repo.Head, at.path)
	if errors.Is(err, fs.ErrNotExist) {
		return at, "", nil
	}
	if err != nil {
		return at, "", err
	}
	n, there := before(head, at.content, at.line)
	if !there {
		return at, "", nil
	}
	from, err := f.Repo.Blame(ctx, git.Line{Commit: f.Repo.Head, Path: at.path, Number: n})
	if err != nil {
		return at, "", err
	}
	content, err := f.Repo.ReadFile(ctx, from.Commit, from.Path)
	return version{from.Path, content, from.Number}, from.Commit, err
}

// trace finds the publication that brought a line.
func (f *Finder) trace(ctx context.Context, a *Answer, at version) error {
	for i := range f.published {
		if p := &f.published[i]; a.Commit != "" && p.Commit == a.Commit {
			a.found(ByCommit, p, p.file(at.path), "the log says that this commit was made from the change, and git that the commit brought the line")
			return nil
		}
	}
	if p, file := f.byContent(at); p != nil {
		a.found(ByContent, p, file, "the file was, byte for byte, what the change made it, and the change brought the line")
		return nil
	}
	if p, file := f.byText(at); p != nil {
		a.found(ByText, p, file, "the change brought a line of this text to this file; the file was altered otherwise since, so that somebody may have written the same line again")
		return nil
	}
	return f.claim(ctx, a)
}

func (a *Answer) found(how How, p *Publication, file *carrel.FileChange, sure string) {
	a.Agent, a.How, a.Publication, a.File, a.Sure = true, how, p, file, sure
}

// byContent goes back from version to version through the changes that made
// them, to the one that brought the line.
func (f *Finder) byContent(at version) (*Publication, *carrel.FileChange) {
	for i := range f.published {
		p := &f.published[i]
		file := p.file(at.path)
		if file == nil || file.Kind != carrel.FileRegular || !file.Digest.Equal(carrel.DigestBytes(at.content)) {
			continue
		}
		was, err := f.contentBefore(file)
		if err != nil {
			return nil, nil // whether the line was there before cannot be told
		}
		n, there := before(was, at.content, at.line)
		if !there {
			return p, file
		}
		at = version{at.path, was, n}
	}
	return nil, nil
}

// byText looks for the newest change that brought such a line to the file.
func (f *Finder) byText(at version) (*Publication, *carrel.FileChange) {
	text, err := nthLine(at.content, at.line)
	if err != nil || strings.TrimSpace(text) == "" {
		return nil, nil // empty lines are everywhere
	}
	for i := range f.published {
		p := &f.published[i]
		file := p.file(at.path)
		if file == nil || file.Kind != carrel.FileRegular || string(p.Workspace) != f.Root {
			continue
		}
		now, err := f.Content(file.Digest)
		if err != nil {
			continue
		}
		was, err := f.contentBefore(file)
		if err == nil && brought(was, now, text) {
			return p, file
		}
	}
	return nil, nil
}

// brought reports whether a line of this text is in now and was not in was.
func brought(was, now []byte, text string) bool {
	for n, l := range lines(now) {
		if l == text {
			if _, there := before(was, now, n+1); !there {
				return true
			}
		}
	}
	return false
}

func (f *Finder) contentBefore(file *carrel.FileChange) ([]byte, error) {
	if file.Before.Kind != carrel.FileRegular {
		return nil, nil
	}
	return f.Content(file.Before.Digest)
}

// claim says what the message of the line's commit says, if anything, and that
// no record confirms it.
func (f *Finder) claim(ctx context.Context, a *Answer) error {
	a.Sure = "no agent is known to have touched it"
	if a.Lost > 0 {
		changes := "changes that were"
		if a.Lost == 1 {
			changes = "change that was"
		}
		a.Sure += fmt.Sprintf("; of %d %s published here the contents are no longer kept and cannot be compared", a.Lost, changes)
	}
	if a.Commit == "" {
		return nil
	}
	info, err := f.Repo.Commit(ctx, a.Commit)
	if err != nil {
		return err
	}
	if a.Claim = ClaimOf(info.Message); a.Claim != nil {
		a.Sure = "the commit's message names a run, but this log has no record that the line came of it: the message is its author's word"
	}
	return nil
}

// ClaimOf reads the trailers that Carrel writes into the messages of commits:
// what a message says, which is its author's word. nil: it says nothing.
func ClaimOf(message string) *Claim {
	var c Claim
	for l := range strings.Lines(message) {
		l = strings.TrimSuffix(l, "\n")
		if v, ok := strings.CutPrefix(l, "Carrel-Run: "); ok {
			c.Run = carrel.Text(v[:min(len(v), 100)])
		}
		if v, ok := strings.CutPrefix(l, "Carrel-Change: "); ok {
			c.Change = carrel.Text(v[:min(len(v), 200)])
		}
	}
	if c.Run == "" && c.Change == "" {
		return nil
	}
	return &c
}

func lines(content []byte) []string {
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func nthLine(content []byte, line int) (string, error) {
	if bytes.IndexByte(content, 0) >= 0 {
		return "", fmt.Errorf("the file is no text: %w", ErrNoLine)
	}
	all := lines(content)
	if line < 1 || line > len(all) || len(content) == 0 {
		return "", fmt.Errorf("%w: the last one is %d", ErrNoLine, len(all))
	}
	return all[line-1], nil
}
