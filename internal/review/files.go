package review

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// files lists what would be applied, with labels and their reasons.
func (p *page) files(files []carrel.FileChange) {
	if len(files) == 0 {
		p.text("\n%s\n", p.bold("Nothing would be applied"))
		return
	}
	p.text("\n%s\n", p.bold("Files, the most severe first"))
	for _, f := range files {
		w := worst(f)
		word := string(w)
		if w.Rank() == 0 {
			word = "-"
		}
		p.text("  %s %s %s %s\n", p.severity(w, fmt.Sprintf("%-8s", word)), mark(f), name(f.Path), p.dim(kindNote(f)))
		p.labels(f.Labels, "           ")
		if f.Decision.Asks() && f.Decision.Reason != "" {
			p.text("           %s %s%s\n", p.yellow("asks:"), shown(f.Decision.Reason), rules(f.Decision))
		}
	}
}

func (p *page) labels(labels []carrel.Label, indent string) {
	for i, l := range labels {
		if slices.Contains(labels[:i], l) {
			continue // two rules that say the same
		}
		p.text("%s%s %s\n", indent, p.severity(l.Severity, terminal.Escape(l.Name)+":"), shown(l.Reason))
	}
}

// mark is one letter for what happens to a file.
func mark(f carrel.FileChange) string {
	switch f.Change {
	case carrel.Created:
		return "A"
	case carrel.Modified:
		return "M"
	case carrel.Deleted:
		return "D"
	case carrel.TypeChanged:
		return "T"
	case carrel.ModeChanged:
		return "m"
	}
	return "?"
}

// kindNote says what is not plain: links, directories, modes, sizes.
func kindNote(f carrel.FileChange) string {
	var notes []string
	state := f.FileState
	if f.Kind == carrel.FileNone {
		state = f.Before
	}
	switch state.Kind {
	case carrel.FileLink:
		notes = append(notes, "link to "+shown(string(state.Target)))
	case carrel.FileDir:
		notes = append(notes, "directory")
	case carrel.FileSpecial:
		notes = append(notes, "neither file, link nor directory")
	case carrel.FileRegular:
		notes = append(notes, size(state.Size))
	}
	if f.Kind != carrel.FileNone && f.Before.Kind != carrel.FileNone && f.Kind != f.Before.Kind {
		notes = append(notes, fmt.Sprintf("was a %s", f.Before.Kind))
	}
	if f.Kind != carrel.FileLink && f.Kind != carrel.FileNone {
		notes = append(notes, modeNote(f)...)
	}
	if f.Nlink > 1 {
		notes = append(notes, fmt.Sprintf("one of %d hard links at the desk", f.Nlink))
	}
	if len(notes) == 0 {
		return ""
	}
	return "(" + strings.Join(notes, ", ") + ")"
}

func modeNote(f carrel.FileChange) []string {
	switch {
	case f.Before.Kind == f.Kind && f.Before.Mode != f.Mode:
		return []string{fmt.Sprintf("mode %04o → %04o", f.Before.Mode, f.Mode)}
	case f.Before.Kind == f.Kind:
		return nil
	case f.Mode&0o7111 != 0 && f.Kind == carrel.FileRegular || f.Mode&0o7022 != 0:
		return []string{fmt.Sprintf("mode %04o", f.Mode)}
	}
	return nil
}

func size(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func reason(d carrel.Decision) string {
	if d.Reason == "" {
		return "nothing allows it"
	}
	return d.Reason
}

func rules(d carrel.Decision) string {
	if len(d.Rules) == 0 {
		return ""
	}
	return " [" + shown(strings.Join(d.Rules, ", ")) + "]"
}
