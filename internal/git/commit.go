package git

import (
	"bytes"
	"context"
	"crypto/sha1" // #nosec: what git calls the objects of SHA-1 repositories
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/internal/git/quote"
)

// File is one path of a commit: what it becomes, or, without a mode, its end.
type File struct {
	Path string
	Mode string // ModeFile, ModeExecutable, ModeLink or "" for deleted
	// Open returns the content as it goes into the repository, and its size.
	Open func() (content io.ReadCloser, size int64, err error)
}

// Commit is a commit made by a draft.
type Commit struct {
	Name, Tree string
	Signed     bool
}

// draftRef is the reference the commit has in the pristine directory.
const draftRef = "refs/heads/draft"

// Commit builds the commit: files, sorted by path, on top of the base, by the
// given user, now. It is signed if the user signs. What was built is compared
// with what was asked for, path by path.
func (d *Draft) Commit(ctx context.Context, files []File, message string, who Identity, now time.Time) (Commit, error) {
	want, err := d.feed(ctx, files, message, who, now)
	if err != nil {
		return Commit{}, fmt.Errorf("building the commit: %w", err)
	}
	var c Commit
	if c.Name, err = d.resolve(ctx, draftRef+"^{commit}"); err != nil {
		return Commit{}, err
	}
	if c.Tree, err = d.resolve(ctx, draftRef+"^{tree}"); err != nil {
		return Commit{}, err
	}
	if err := errors.Join(d.compare(ctx, c.Tree, want), d.verifyPaths(ctx, c.Tree)); err != nil {
		return Commit{}, fmt.Errorf("checking the commit: %w", err)
	}
	if who.Sign {
		if c.Name, err = d.sign(ctx, c.Tree, message, who, now); err != nil {
			return Commit{}, fmt.Errorf("signing the commit as your git settings ask (commit.gpgSign): %w", err)
		}
		c.Signed = true
	}
	return c, nil
}

func (d *Draft) resolve(ctx context.Context, name string) (string, error) {
	out, err := d.run(ctx, call{command: []string{"rev-parse", "--verify", "--quiet", "--end-of-options", name}})
	if err != nil {
		return "", err
	}
	return d.repo.objectName(strings.TrimSpace(string(out)))
}

// feed streams the commit to git and returns the entry of every path, as
// computed here.
func (d *Draft) feed(ctx context.Context, files []File, message string, who Identity, now time.Time) (map[string]Entry, error) {
	in, out := io.Pipe()
	want := make(map[string]Entry, len(files))
	written := make(chan error, 1)
	go func() {
		err := d.script(out, files, want, message, who, now)
		out.CloseWithError(err)
		written <- err
	}()
	_, err := d.run(ctx, call{command: []string{"fast-import", "--quiet", "--done", "--date-format=raw"}, stdin: in})
	in.CloseWithError(errors.New("git ended"))
	if werr := <-written; werr != nil && err == nil {
		err = werr
	}
	return want, err
}

func (d *Draft) script(w io.Writer, files []File, want map[string]Entry, message string, who Identity, now time.Time) error {
	head := fmt.Sprintf("commit %s\nauthor %s\ncommitter %s\ndata %d\n%s\n", draftRef, who.line(now), who.line(now), len(message), message)
	if d.base != "" {
		head += "from " + d.base + "\n"
	}
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	// Deletions come first: a file may take the place of a directory, and the
	// other way round.
	for _, f := range files {
		if f.Mode == "" {
			if _, err := fmt.Fprintf(w, "D %s\n", quote.Always(f.Path)); err != nil {
				return err
			}
			want[f.Path] = Entry{}
		}
	}
	for _, f := range files {
		if f.Mode == "" {
			continue
		}
		object, err := d.inline(w, f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		want[f.Path] = Entry{f.Mode, object}
	}
	_, err := io.WriteString(w, "done\n")
	return err
}

// inline writes one file and returns the object name it must get.
func (d *Draft) inline(w io.Writer, f File) (string, error) {
	content, size, err := f.Open()
	if err != nil {
		return "", err
	}
	defer content.Close()
	if _, err := fmt.Fprintf(w, "M %s inline %s\ndata %d\n", f.Mode, quote.Always(f.Path), size); err != nil {
		return "", err
	}
	h := d.repo.newHash()
	fmt.Fprintf(h, "blob %d\x00", size)
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(content, size+1))
	if err != nil {
		return "", err
	}
	if n != size {
		return "", fmt.Errorf("content is not %d bytes long", size)
	}
	_, err = io.WriteString(w, "\n")
	return hex.EncodeToString(h.Sum(nil)), err
}

func (r *Repo) newHash() hash.Hash {
	if r.Format == SHA256 {
		return sha256.New()
	}
	return sha1.New()
}

// line is the user at a time, as commits have it.
func (id Identity) line(now time.Time) string {
	return fmt.Sprintf("%s <%s> %d %s", id.Name, id.Email, now.Unix(), now.Format("-0700"))
}

// compare asserts that tree differs from the base in exactly what was wanted.
func (d *Draft) compare(ctx context.Context, tree string, want map[string]Entry) error {
	left := make(map[string]Entry, len(want))
	for path, e := range want {
		if d.tree[path] != e {
			left[path] = e
		}
	}
	out, err := d.difference(ctx, tree)
	if err != nil {
		return err
	}
	for path, e := range out {
		if w, ok := left[path]; !ok || w != e {
			return fmt.Errorf("%q differs from what was approved", path)
		}
		delete(left, path)
	}
	if len(left) > 0 {
		return fmt.Errorf("%d paths are missing from it", len(left))
	}
	return nil
}

// verifyPaths has git refuse names that it would refuse to check out: ".git"
// in any spelling of any file system, "..", and the like.
func (d *Draft) verifyPaths(ctx context.Context, tree string) error {
	_, err := d.run(ctx, call{
		command: []string{"read-tree", tree}, config: []string{"core.protectHFS=true", "core.protectNTFS=true"},
		env: []string{"GIT_INDEX_FILE=" + d.index + ".result"},
	})
	return err
}

// difference lists what tree has other than the base; deleted paths have a
// zero entry.
func (d *Draft) difference(ctx context.Context, tree string) (map[string]Entry, error) {
	changed := make(map[string]Entry)
	if d.base == "" {
		out, err := d.run(ctx, call{command: []string{"ls-tree", "-r", "-z", tree}})
		if err != nil {
			return nil, err
		}
		return changed, parseTree(out, changed)
	}
	out, err := d.run(ctx, call{command: []string{"diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-ext-diff", d.base, tree}})
	if err != nil {
		return nil, err
	}
	fields := bytes.Split(bytes.TrimSuffix(out, []byte{0}), []byte{0})
	for ; len(fields) >= 2; fields = fields[2:] {
		meta := strings.Fields(string(fields[0])) // :OLDMODE NEWMODE OLDOBJECT NEWOBJECT STATUS
		if len(meta) != 5 {
			return nil, fmt.Errorf("git diff-tree: unexpected output")
		}
		e := Entry{meta[1], meta[3]}
		if meta[4] == "D" {
			e = Entry{}
		}
		changed[string(fields[1])] = e
	}
	return changed, nil
}

// sign makes the same commit again with the user's signature.
func (d *Draft) sign(ctx context.Context, tree, message string, who Identity, now time.Time) (string, error) {
	date := "@" + strconv.FormatInt(now.Unix(), 10) + " " + now.Format("-0700")
	env := append([]string{}, who.env...)
	for _, role := range []string{"AUTHOR", "COMMITTER"} {
		env = append(env, "GIT_"+role+"_NAME="+who.Name, "GIT_"+role+"_EMAIL="+who.Email, "GIT_"+role+"_DATE="+date)
	}
	command := []string{"commit-tree", "-S"}
	if key := who.settings["user.signingkey"]; key != "" {
		command[1] = "-S" + key
	}
	if d.base != "" {
		command = append(command, "-p", d.base)
	}
	out, err := d.run(ctx, call{command: append(command, tree), stdin: strings.NewReader(message), env: env, config: who.signing(), foreground: true})
	if err != nil {
		return "", err
	}
	return d.repo.objectName(strings.TrimSpace(string(out)))
}
