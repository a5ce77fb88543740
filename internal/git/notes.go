package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxNote bounds a note that is read.
const maxNote = 64 << 20

// noteTries is how often a note is added again that somebody else's came
// before.
const noteTries = 5

// AddNote appends lines to the note that ref has of a commit; each ends with a
// newline. What others noted stays: a note is only ever added to. It is all or
// nothing, and safe for several processes.
func (r *Repo) AddNote(ctx context.Context, ref, commit string, lines []byte, now time.Time) error {
	if _, err := r.objectName(commit); err != nil {
		return err
	}
	var err error
	for range noteTries {
		if err = r.tryNote(ctx, ref, commit, lines, now); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("noting commit %s in %s: %w", short(commit), ref, err)
}

func (r *Repo) tryNote(ctx context.Context, ref, commit string, lines []byte, now time.Time) error {
	before, err := r.refersTo(ctx, ref)
	if err != nil {
		return err
	}
	note, err := r.noteAt(ctx, before, commit)
	if err != nil {
		return err
	}
	if len(note) > 0 && !bytes.HasSuffix(note, []byte("\n")) {
		note = append(note, '\n')
	}
	p, err := r.pristine()
	if err != nil {
		return err
	}
	defer p.Close()
	out, err := p.run(ctx, call{
		command: []string{"fast-import", "--quiet", "--done", "--date-format=raw"}, stdin: noteScript(before, commit, append(note, lines...), now),
	})
	if err != nil {
		return err
	}
	after, err := r.objectName(strings.TrimSpace(string(out)))
	if err != nil {
		return err
	}
	if err := p.migrate(); err != nil {
		return err
	}
	if before == "" {
		before = strings.Repeat("0", len(after))
	}
	_, err = run(ctx, call{
		gitDir: r.Dir, as: r.owner, env: []string{"GIT_COMMITTER_NAME=" + noteAuthor, "GIT_COMMITTER_EMAIL=" + noteMail},
		command: []string{"update-ref", "--no-deref", "-m", "carrel: attest", ref, after, before},
	})
	return err
}

// Notes are Carrel's own words: nobody's name is put to them. What they hold
// is signed where it counts.
const (
	noteAuthor = "carrel"
	noteMail   = "carrel@localhost"
)

func noteScript(before, commit string, note []byte, now time.Time) io.Reader {
	var b bytes.Buffer
	who := Identity{Name: noteAuthor, Email: noteMail}
	message := "Notes of attestations\n"
	fmt.Fprintf(&b, "commit %s\nmark :1\ncommitter %s\ndata %d\n%s\n", draftRef, who.line(now.UTC()), len(message), message)
	if before != "" {
		fmt.Fprintf(&b, "from %s\n", before)
	}
	fmt.Fprintf(&b, "N inline %s\ndata %d\n", commit, len(note))
	b.Write(note)
	b.WriteString("\nget-mark :1\ndone\n") // the commit's name comes on stdout
	return &b
}

// ErrNoNote says that nothing is noted of a commit. No failure to look is one.
var ErrNoNote = errors.New("no note")

// Note returns the note that ref has of a commit. The error wraps ErrNoNote if
// there is none.
func (r *Repo) Note(ctx context.Context, ref, commit string) ([]byte, error) {
	at, err := r.refersTo(ctx, ref)
	if err != nil {
		return nil, err
	}
	note, err := r.noteAt(ctx, at, commit)
	if err == nil && note == nil {
		err = fmt.Errorf("commit %s has %w in %s", short(commit), ErrNoNote, ref)
	}
	return note, err
}

// noteAt looks a note up in a commit of notes, however deep git has spread
// them; nil if there is none.
func (r *Repo) noteAt(ctx context.Context, at, commit string) ([]byte, error) {
	if at == "" {
		return nil, nil
	}
	var paths []string
	for depth := range 4 {
		path := ""
		for i := range depth {
			path += commit[2*i:2*i+2] + "/"
		}
		paths = append(paths, path+commit[2*depth:])
	}
	found, err := r.Entries(ctx, at, paths)
	if err != nil {
		return nil, err
	}
	var note []byte
	for _, path := range paths {
		e, ok := found[path]
		if !ok || e.Mode != ModeFile {
			continue
		}
		content, err := r.ReadBlob(ctx, e.Object)
		if err != nil {
			return nil, err
		}
		if len(note)+len(content) > maxNote {
			return nil, fmt.Errorf("the note of commit %s is larger than %d bytes", short(commit), maxNote)
		}
		note = append(note, content...)
	}
	return note, nil
}

// CommitInfo is what a commit says of itself.
type CommitInfo struct {
	Name    string
	Tree    string
	Parents []string
	Message string // as its author wrote it
}

// Commit looks a commit up by any name that Resolve takes.
func (r *Repo) Commit(ctx context.Context, name string) (CommitInfo, error) {
	c := CommitInfo{}
	var err error
	if c.Name, err = r.Resolve(ctx, name); err != nil {
		return c, err
	}
	p, err := r.pristine()
	if err != nil {
		return c, err
	}
	defer p.Close()
	raw, err := p.run(ctx, call{command: []string{"cat-file", "commit", c.Name}})
	if err != nil {
		return c, fmt.Errorf("reading commit %s: %w", short(c.Name), err)
	}
	head, message, _ := strings.Cut(string(raw), "\n\n")
	c.Message = message
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "tree":
			c.Tree = value
		case "parent":
			c.Parents = append(c.Parents, value)
		}
	}
	if _, err := r.objectName(c.Tree); err != nil {
		return c, fmt.Errorf("commit %s names no tree", short(c.Name))
	}
	return c, nil
}
