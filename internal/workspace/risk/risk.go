// Package risk says which files of a change deserve a look, and why: it puts
// labels on them, each with a severity and a reason.
//
// It is trusted to miss little and to say nothing false; it is no wall. It
// sees paths, modes and the start of contents as an agent wrote them, and
// runs, opens and decides nothing.
package risk

import (
	"strings"

	"github.com/carrel-dev/carrel"
)

// Head is the start of a content.
type Head struct {
	Bytes []byte
	Whole bool // there is no more
}

// File is one file of a change, with what can be looked at.
type File struct {
	carrel.FileChange
	Now, Was   Head
	Attributes []string // names of extended attributes
	BesideHead bool     // a HEAD lies where it makes git believe this file
}

// Assess returns the labels of one file, the gravest of each name once.
func Assess(f File) []carrel.Label {
	labels := collector{}
	for _, look := range looks {
		look(f, &labels)
	}
	return labels.list
}

// looks is every detector, in the order in which labels are listed.
var looks = []func(File, *collector){
	byPath, byName, bare, byKind, byMode, byManifest, byContent, bySecret,
}

// collector keeps the gravest label of each name.
type collector struct{ list []carrel.Label }

func (c *collector) add(name string, severity carrel.Severity, reason string) {
	for i, l := range c.list {
		if l.Name == name {
			if severity.Rank() > l.Severity.Rank() {
				c.list[i] = carrel.Label{Name: name, Severity: severity, Reason: reason}
			}
			return
		}
	}
	c.list = append(c.list, carrel.Label{Name: name, Severity: severity, Reason: reason})
}

// Sum is the risk of a change: its highest severity, and how many files carry
// each label.
func Sum(files []carrel.FileChange) carrel.Risk {
	r := carrel.Risk{Level: carrel.SeverityNone, Counts: map[string]int{}}
	for _, f := range files {
		for _, l := range f.Labels {
			r.Counts[l.Name]++
			if l.Severity.Rank() > r.Level.Rank() {
				r.Level = l.Severity
			}
		}
	}
	return r
}

// gone reports whether the change takes the file away.
func (f File) gone() bool { return f.Change == carrel.Deleted }

// lower is the path in lower case: rules hold on systems that fold case, too.
func (f File) lower() string { return strings.ToLower(string(f.Path)) }
