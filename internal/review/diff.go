package review

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff/lcs"

	"github.com/carrel-dev/carrel"
)

const (
	// maxCompared bounds each side of a comparison: nobody reads more, and
	// it takes a tenth of a second at worst.
	maxCompared = 1 << 20
	// maxLines bounds the lines shown of one file.
	maxLines = 3000
	// context is the number of unchanged lines around a difference.
	context = 3
)

// diff shows one file: what happens to it, then its lines.
func (p *page) diff(f *carrel.FileChange, blobs Blobs) {
	before, after := "a/"+name(f.Path), "b/"+name(f.Path)
	if f.Before.Kind == carrel.FileNone {
		before = "/dev/null"
	}
	if f.Kind == carrel.FileNone {
		after = "/dev/null"
	}
	p.text("%s\n", p.bold(fmt.Sprintf("%s %s %s", f.Change, name(f.Path), kindNote(*f))))
	if f.Kind != carrel.FileRegular && f.Before.Kind != carrel.FileRegular {
		p.targets(f)
		return
	}
	if f.Kind == f.Before.Kind && f.Digest == f.Before.Digest && f.Digest != "" {
		return // its mode alone
	}
	was, whyNot := side(f.Before, blobs)
	now, why := side(f.FileState, blobs)
	switch {
	case why != "":
		p.text("  %s\n", p.yellow("its content is not shown: "+why))
		return
	case isBinary(now), isBinary(was) && f.Kind != carrel.FileRegular:
		p.text("  %s\n", p.yellow("binary content, not shown: "+digests(f)))
		return
	case isBinary(was): // what takes its place can be read
		was, whyNot = nil, "it is binary"
	}
	if whyNot != "" {
		p.text("  %s\n", p.yellow("what was there before is not shown ("+whyNot+"); all lines stand as added"))
	}
	p.text("%s\n%s\n", p.bold("--- "+before), p.bold("+++ "+after))
	p.hunks(splitLines(was), splitLines(now))
	p.targets(f)
}

// targets shows links, which have no lines.
func (p *page) targets(f *carrel.FileChange) {
	if f.Before.Kind == carrel.FileLink {
		p.text("%s\n", p.red("-link to "+shown(string(f.Before.Target))))
	}
	if f.Kind == carrel.FileLink {
		p.text("%s\n", p.green("+link to "+shown(string(f.Target))))
	}
}

func digests(f *carrel.FileChange) string {
	short := func(s carrel.FileState) string {
		if s.Digest == "" {
			return "nothing known"
		}
		return fmt.Sprintf("%s, %s", size(s.Size), s.Digest)
	}
	switch {
	case f.Before.Kind == carrel.FileNone:
		return short(f.FileState)
	case f.Kind == carrel.FileNone:
		return "was " + short(f.Before)
	}
	return short(f.Before) + " → " + short(f.FileState)
}

// side returns one side's content, or why it cannot be shown.
func side(s carrel.FileState, blobs Blobs) (content []byte, why string) {
	switch {
	case s.Kind != carrel.FileRegular:
		return nil, ""
	case s.Digest == "":
		return nil, "it is not known"
	case s.Size > maxCompared:
		return nil, fmt.Sprintf("%s are more than the %s that are compared; %s", size(s.Size), size(maxCompared), s.Digest)
	}
	content, err := blobs.Read(s.Digest, maxCompared)
	if err != nil {
		return nil, shown(err.Error())
	}
	return content, ""
}

func isBinary(content []byte) bool { return bytes.IndexByte(content, 0) >= 0 }

// splitLines keeps line ends, so that a missing last one is a difference.
func splitLines(content []byte) []string {
	lines := strings.SplitAfter(string(content), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	}
	return lines
}

// hunks shows the differences of two files with some context.
func (p *page) hunks(was, now []string) {
	diffs := lcs.DiffLines(was, now)
	left := maxLines
	for len(diffs) > 0 && left > 0 {
		n := 1
		for n < len(diffs) && diffs[n].Start-diffs[n-1].End <= 2*context {
			n++
		}
		left = p.hunk(was, now, diffs[:n], left)
		diffs = diffs[n:]
	}
	if left < 0 || len(diffs) > 0 {
		p.text("%s\n", p.yellow(fmt.Sprintf("[… more than %d lines; the rest of this file's differences is not shown]", maxLines)))
	}
}

// hunk shows neighbouring differences, at most left lines of them, and returns
// how many may follow; less than none if some were not shown.
func (p *page) hunk(was, now []string, diffs []lcs.Diff, left int) int {
	first, last := diffs[0], diffs[len(diffs)-1]
	from, to := max(0, first.Start-context), min(len(was), last.End+context)
	fromNow, toNow := first.ReplStart-(first.Start-from), last.ReplEnd+(to-last.End)
	p.text("%s\n", p.cyan(fmt.Sprintf("@@ -%s +%s @@", span(from, to), span(fromNow, toNow))))
	line := func(sign, text string, paint func(string) string) {
		if left--; left < 0 {
			return
		}
		text, ended := strings.CutSuffix(text, "\n")
		p.text("%s\n", paint(sign+shown(text)))
		if !ended {
			p.text("%s\n", p.dim(`\ no newline at the end of the file`))
		}
	}
	plain := func(s string) string { return s }
	at := from
	for _, d := range diffs {
		for ; at < d.Start; at++ {
			line(" ", was[at], plain)
		}
		for ; at < d.End; at++ {
			line("-", was[at], p.red)
		}
		for i := d.ReplStart; i < d.ReplEnd; i++ {
			line("+", now[i], p.green)
		}
	}
	for ; at < to; at++ {
		line(" ", was[at], plain)
	}
	return left
}

// span is the position of a hunk as unified diffs have it.
func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}
