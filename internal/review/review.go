// Package review shows a change to people: what it would do, its risks first,
// and then the difference, line by line.
//
// It is trusted to hide nothing. Every path, link, message and line of content
// was written by an agent and is escaped before it is shown; what is cut or
// not shown says so in Carrel's own words, in a place that content cannot
// imitate.
package review

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// Blobs gives the frozen content of a change: the content store. Read returns
// verified content, and an error if it is longer than limit or not there.
type Blobs interface {
	Read(d carrel.Digest, limit int64) ([]byte, error)
}

// Options say how a change is shown.
type Options struct {
	Color     bool
	Stat      bool       // the summary and the files, without their differences
	State     string     // of the change: pending, applied, …; may be empty
	Conflicts []Conflict // what an apply to the tree would refuse now
}

// Conflict is a path that cannot be applied to the tree as it is now.
type Conflict struct {
	Path   carrel.Text
	Reason string
	// If ThreeWay, what the base commit has and what the tree has now, with
	// contents that can be read: the user's own difference is shown.
	ThreeWay   bool
	Base, Ours carrel.FileState
}

// Render writes the change for a terminal. The error is that of the writer:
// content that cannot be read is said in its place.
func Render(w io.Writer, c *carrel.Change, blobs Blobs, o Options) error {
	out := bufio.NewWriter(w)
	p := &page{out, style{o.Color}}
	if err := p.summary(c, o); err != nil {
		return err
	}
	p.withheld(c.Withheld)
	p.conflicts(o.Conflicts, blobs)
	files := bySeverity(c.Files)
	p.files(files)
	for i := range files {
		if o.Stat {
			break
		}
		p.text("\n")
		p.diff(&files[i], blobs)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("showing change %s: %w", c.ID, err)
	}
	return nil
}

// page writes; its writer keeps the first error.
type page struct {
	out *bufio.Writer
	style
}

// text writes Carrel's own words, with arguments that are escaped already.
func (p *page) text(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

// maxShown bounds one line of what an agent wrote: what is longer is cut, with
// a mark.
const maxShown = 1000

// shown escapes one line of what an agent wrote, tabs excepted, and cuts it.
func shown(s string) string {
	rest := 0
	if len(s) > maxShown {
		cut := maxShown
		for cut > maxShown-4 && s[cut]&0xc0 == 0x80 { // not inside a character
			cut--
		}
		s, rest = s[:cut], len(s)-cut
	}
	s = strings.ReplaceAll(terminal.EscapeText(s), "\n", `\n`)
	if rest > 0 {
		s += fmt.Sprintf(" [… %d more bytes on this line are not shown]", rest)
	}
	return s
}

// name is a path as it is shown: on one line, unmistakable.
func name(t carrel.Text) string { return terminal.Escape(string(t)) }

// bySeverity sorts a copy, most severe first, else by path.
func bySeverity(files []carrel.FileChange) []carrel.FileChange {
	sorted := slices.Clone(files)
	slices.SortStableFunc(sorted, func(a, b carrel.FileChange) int { return worst(b).Rank() - worst(a).Rank() })
	return sorted
}

// worst is the highest severity among a file's labels.
func worst(f carrel.FileChange) carrel.Severity {
	top := carrel.SeverityNone
	for _, l := range f.Labels {
		if l.Severity.Rank() > top.Rank() {
			top = l.Severity
		}
	}
	return top
}
