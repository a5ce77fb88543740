//go:build linux

package engine

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// maxTold bounds the refusals that the summary names one by one.
const maxTold = 5

// tellUser reports refusals on stderr as they happen, unless the agent owns
// the terminal.
func (v *visit) tellUser() func(Denial) {
	if v.interactive() {
		return nil
	}
	told := 0
	return func(n Denial) {
		if told++; told <= maxTold {
			fmt.Fprintf(v.e.host.Stderr, "carrel: %s\n", n.line())
		}
	}
}

// tellFinding reports what is odd at once, unless the agent owns the terminal.
func (v *visit) tellFinding() func(Finding) {
	if v.interactive() {
		return nil
	}
	return func(f Finding) { fmt.Fprintf(v.e.host.Stderr, "carrel: finding %s: %s\n", f.Name, f.What) }
}

// summarise says on stderr what changed, what was refused and what to type
// next.
func (v *visit) summarise(s *selected) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "carrel: "+format+"\n", args...) }
	if v.result.EndedBy != "" {
		line("the run was ended by its limit: %s", v.endedBy())
	}
	if refused := live(v.result.Denials); len(refused) > 0 {
		v.summariseRefusals(line, refused)
	}
	if v.interactive() { // else they were told as they were found
		for _, f := range v.result.Findings {
			line("finding %s: %s", f.Name, f.What)
		}
	}
	if s == nil {
		if v.interactive() {
			line("nothing was changed (%s)", v.id)
		}
	} else {
		v.summariseChange(line, s)
	}
	if b.Len() > 0 && v.sharesOutput() {
		// The agent's last words may lack their newline: they must not read as
		// the beginning of ours.
		fmt.Fprintln(v.e.host.Stderr)
	}
	fmt.Fprint(v.e.host.Stderr, b.String())
}

// sharesOutput reports whether what the agent printed stands right before what
// Carrel says: at a terminal, or where both its outputs go to one file.
func (v *visit) sharesOutput() bool {
	if term.IsTerminal(int(v.e.host.Stderr.Fd())) {
		return true
	}
	out, err := v.e.host.Stdout.Stat()
	if err != nil {
		return false
	}
	own, err := v.e.host.Stderr.Stat()
	return err == nil && os.SameFile(out, own)
}

func (v *visit) summariseRefusals(line func(string, ...any), refused []Denial) {
	var total int64
	for _, n := range refused {
		total += n.Count
	}
	line("refused: %d (%s)", total, plural(len(refused), "target"))
	if v.denials.report != nil {
		return // they were told one by one
	}
	for i, n := range refused {
		if i == maxTold {
			line("  … and %d more: carrel show %s", len(refused)-maxTold, v.id)
			break
		}
		line("  %s", n.line())
	}
}

func (v *visit) summariseChange(line func(string, ...any), s *selected) {
	c := v.result.Change
	line("changed: %s, risk %s, digest %s (%s)", countFiles(c.Files), c.Risk.Level, c.Digest.Short(), c.ID)
	if c.Withheld > 0 {
		line("withheld: %s that policy denies or that cannot be carried over", countFiles(c.Withheld))
	}
	if names := riskNames(c.Risk); names != "" {
		line("risks: %s", names)
	}
	line("next: carrel review, then carrel approve and %s, or carrel discard", applyForms(s.ws))
}

func riskNames(r carrel.Risk) string {
	var out []string
	for _, name := range sortedKeys(r.Counts) {
		out = append(out, fmt.Sprintf("%s %d", name, r.Counts[name]))
	}
	return strings.Join(out, ", ")
}

// after is what happens to a change at the end of its run: it is applied if
// the user asked for that and policy allows it without asking, or the user
// chooses at the terminal, until asking ends.
func (v *visit) after(ctx, asking context.Context, g *gate.Gate, s selected) error {
	if v.opts.Apply == "auto" {
		return v.applyAuto(ctx, g, s)
	}
	if !v.interactive() {
		return nil
	}
	return v.menu(asking, s)
}
