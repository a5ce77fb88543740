package review

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// maxMessageLines bounds the agent's message as it is shown.
const maxMessageLines = 100

// summary says what the change is and how risky, before anything else.
func (p *page) summary(c *carrel.Change, o Options) error {
	digest, err := c.Digest()
	if err != nil {
		return err
	}
	state := ""
	if o.State != "" {
		state = " · " + o.State
	}
	p.text("%s of %s%s\n", p.bold("Change "+string(c.ID)), c.Run, state)
	p.text("  risk       %s%s\n", p.severity(c.Risk.Level, string(level(c.Risk.Level))), counts(c.Risk.Counts))
	p.text("  files      %s\n", tally(c))
	p.text("  digest     %s\n", digest)
	p.text("  workspace  %s%s\n", name(c.Workspace), base(c.Base))
	p.text("  taken      %s", c.Taken.UTC().Format(time.DateTime+" UTC"))
	if c.Running {
		p.text(" %s", p.yellow("while the agent was still working: it may have gone on since"))
	}
	p.text("\n")
	p.message(string(c.Message))
	return nil
}

func level(s carrel.Severity) carrel.Severity {
	if s == "" {
		return carrel.SeverityNone
	}
	return s
}

func base(b carrel.Base) string {
	switch {
	case b.Commit == "":
		return ""
	case b.Branch == "":
		return ", from commit " + terminal.Escape(b.Commit[:min(12, len(b.Commit))])
	}
	return fmt.Sprintf(", from commit %s of %s", terminal.Escape(b.Commit[:min(12, len(b.Commit))]), terminal.Escape(b.Branch))
}

// counts lists how many labels of each name there are, most first.
func counts(n map[string]int) string {
	names := make([]string, 0, len(n))
	for label := range n {
		names = append(names, label)
	}
	slices.SortFunc(names, func(a, b string) int {
		if n[a] != n[b] {
			return n[b] - n[a]
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for i, label := range names {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%d %s", sep, n[label], terminal.Escape(label))
	}
	return b.String()
}

// tally counts the files by what happens to them.
func tally(c *carrel.Change) string {
	n := make(map[carrel.Alteration]int)
	for _, f := range c.Files {
		n[f.Change]++
	}
	var parts []string
	for _, k := range []struct {
		change carrel.Alteration
		words  string
	}{{carrel.Created, "created"}, {carrel.Modified, "modified"}, {carrel.Deleted, "deleted"}, {carrel.TypeChanged, "of another type"}, {carrel.ModeChanged, "of another mode"}} {
		if n[k.change] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k.change], k.words))
		}
	}
	s := fmt.Sprint(len(c.Files))
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, ", ")
	}
	if len(c.Withheld) > 0 {
		s += fmt.Sprintf("; %d more withheld", len(c.Withheld))
	}
	return s
}

// message shows the agent's proposal, marked as the agent's on every line.
func (p *page) message(text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	p.text("  the agent's message:\n")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, l := range lines {
		if i == maxMessageLines {
			p.text("  %s\n", p.dim(fmt.Sprintf("[… %d more lines of it are not shown]", len(lines)-i)))
			break
		}
		p.text("  %s %s\n", p.dim("|"), shown(l))
	}
}

// withheld lists what was kept back, and why.
func (p *page) withheld(files []carrel.FileChange) {
	if len(files) == 0 {
		return
	}
	p.text("\n%s\n", p.bold("Withheld: these stay at the desk and are not applied"))
	for _, f := range files {
		p.text("  %s %s %s\n", p.red(mark(f)), name(f.Path), p.dim(kindNote(f)))
		p.text("      %s%s\n", shown(reason(f.Decision)), rules(f.Decision))
		p.labels(besides(f), "      ")
	}
}

// besides are the labels of a file that say more than why it was kept back.
func besides(f carrel.FileChange) []carrel.Label {
	return slices.DeleteFunc(slices.Clone(f.Labels), func(l carrel.Label) bool {
		return l.Reason != "" && strings.HasPrefix(f.Decision.Reason, l.Reason)
	})
}

// conflicts lists what stands against the change, and beside it what the user
// did since, where that is known: the agent's side follows with the files.
func (p *page) conflicts(conflicts []Conflict, blobs Blobs) {
	if len(conflicts) == 0 {
		return
	}
	p.text("\n%s\n", p.bold("Conflicts: applying to the tree would refuse all of the change now"))
	for _, c := range conflicts {
		p.text("  %s %s\n      %s\n", p.red("!"), name(c.Path), shown(c.Reason))
		if !c.ThreeWay {
			continue
		}
		p.text("      since the base commit, yours is:\n")
		yours := carrel.FileChange{Path: c.Path, Change: carrel.Modified, FileState: c.Ours, Before: c.Base}
		if c.Ours.Kind == carrel.FileNone {
			yours.Change = carrel.Deleted
		}
		p.diff(&yours, blobs)
	}
}
