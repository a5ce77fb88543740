package attest

import (
	"bytes"
	"crypto/sha1" // #nosec: what git calls the objects of SHA-1 repositories
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff/lcs"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git/quote"
)

// Contents gives the frozen content of a change. Read returns verified
// content, and an error if it is longer than limit or not there.
type Contents interface {
	Read(d carrel.Digest, limit int64) ([]byte, error)
}

const (
	maxCompared = 1 << 20  // bytes of a side whose lines are compared
	maxLiteral  = 16 << 20 // bytes of a file that is carried whole
	maxPatch    = 64 << 20 // bytes of a patch
	around      = 3        // unchanged lines around a difference
)

// Patch writes a change as `git apply` reads it. It is a function of the
// change alone: the same release makes the same bytes of it again. A file that is too large for a patch, or whose earlier content is not
// known, stands in it by its digests only, in the words git has for that.
func Patch(c *carrel.Change, contents Contents) ([]byte, error) {
	p := &patch{contents: contents}
	for i := range c.Files {
		f := &c.Files[i]
		if f.Kind == carrel.FileDir || f.Kind == carrel.FileNone && f.Before.Kind == carrel.FileDir {
			continue // git has no directories
		}
		if err := p.file(f); err != nil {
			return nil, fmt.Errorf("writing the patch: %s: %w", f.Path, err)
		}
		if p.out.Len() > maxPatch {
			return nil, fmt.Errorf("the patch is larger than %d bytes", maxPatch)
		}
	}
	return p.out.Bytes(), nil
}

type patch struct {
	contents Contents
	out      bytes.Buffer
}

func (p *patch) printf(format string, args ...any) { fmt.Fprintf(&p.out, format, args...) }

// file writes one path. A file whose kind changes is deleted and made anew, as
// git does.
func (p *patch) file(f *carrel.FileChange) error {
	before := f.Before
	if before.Kind == carrel.FileDir {
		before = carrel.FileState{Kind: carrel.FileNone}
	}
	if before.Kind != carrel.FileNone && f.Kind != carrel.FileNone && before.Kind != f.Kind {
		gone := carrel.FileState{Kind: carrel.FileNone}
		if err := p.alter(string(f.Path), before, gone); err != nil {
			return err
		}
		before = gone
	}
	return p.alter(string(f.Path), before, f.FileState)
}

func (p *patch) alter(path string, before, after carrel.FileState) error {
	was, wasKnown, err := p.side(before)
	if err != nil {
		return err
	}
	now, nowKnown, err := p.side(after)
	if err != nil {
		return err
	}
	from, to := quote.Name("a/"+path), quote.Name("b/"+path)
	p.printf("diff --git %s %s\n", from, to)
	switch {
	case before.Kind == carrel.FileNone:
		p.printf("new file mode %s\n", mode(after))
		from = "/dev/null"
	case after.Kind == carrel.FileNone:
		p.printf("deleted file mode %s\n", mode(before))
		to = "/dev/null"
	case mode(before) != mode(after):
		p.printf("old mode %s\nnew mode %s\n", mode(before), mode(after))
	}
	if !wasKnown || !nowKnown {
		p.printf("Binary files %s and %s differ\n", from, to)
		return nil
	}
	if bytes.Equal(was, now) && before.Kind == after.Kind {
		return nil // its mode alone
	}
	p.printf("index %s..%s\n", blobName(before, was), blobName(after, now))
	if binary(was) || binary(now) {
		return p.literals(was, now)
	}
	if len(was)+len(now) > 0 {
		p.printf("--- %s\n+++ %s\n", from, to)
		p.hunks(lines(was), lines(now))
	}
	return nil
}

// side returns one side's content, and whether it is known and small enough.
func (p *patch) side(s carrel.FileState) (content []byte, known bool, err error) {
	switch {
	case s.Kind == carrel.FileNone:
		return nil, true, nil
	case s.Kind == carrel.FileLink:
		return []byte(s.Target), true, nil
	case s.Digest == "" || s.Size > maxLiteral:
		return nil, false, nil
	}
	content, err = p.contents.Read(s.Digest, maxLiteral)
	if err != nil {
		return nil, false, nil // earlier contents are kept only while they are small
	}
	return content, true, nil
}

func mode(s carrel.FileState) string {
	switch {
	case s.Kind == carrel.FileLink:
		return "120000"
	case s.Mode&0o100 != 0:
		return "100755"
	}
	return "100644"
}

// blobName is what git calls the content; what is not there is all zeros.
func blobName(s carrel.FileState, content []byte) string {
	if s.Kind == carrel.FileNone {
		return strings.Repeat("0", 2*sha1.Size)
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(content))
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

func binary(content []byte) bool {
	return len(content) > maxCompared || bytes.IndexByte(content, 0) >= 0
}

// lines keeps line ends, so that a missing last one is a difference.
func lines(content []byte) []string {
	out := strings.SplitAfter(string(content), "\n")
	if last := len(out) - 1; out[last] == "" {
		out = out[:last]
	}
	return out
}

// hunks writes the differences of two files with some lines around them.
func (p *patch) hunks(was, now []string) {
	diffs := lcs.DiffLines(was, now)
	for len(diffs) > 0 {
		n := 1
		for n < len(diffs) && diffs[n].Start-diffs[n-1].End <= 2*around {
			n++
		}
		p.hunk(was, now, diffs[:n])
		diffs = diffs[n:]
	}
}

func (p *patch) hunk(was, now []string, diffs []lcs.Diff) {
	first, last := diffs[0], diffs[len(diffs)-1]
	from, to := max(0, first.Start-around), min(len(was), last.End+around)
	fromNow, toNow := first.ReplStart-(first.Start-from), last.ReplEnd+(to-last.End)
	p.printf("@@ -%s +%s @@\n", span(from, to), span(fromNow, toNow))
	at := from
	for _, d := range diffs {
		p.lines(" ", was[at:d.Start])
		p.lines("-", was[d.Start:d.End])
		p.lines("+", now[d.ReplStart:d.ReplEnd])
		at = d.End
	}
	p.lines(" ", was[at:to])
}

func (p *patch) lines(sign string, list []string) {
	for _, l := range list {
		p.printf("%s%s", sign, l)
		if !strings.HasSuffix(l, "\n") {
			p.printf("\n\\ No newline at end of file\n")
		}
	}
}

// span is the position of a hunk.
func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}
