package engine

import (
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// Denial is what was refused in a run, with how often: one entry for each
// operation, target and rule.
type Denial struct {
	Operation carrel.Operation `json:"operation"`
	Target    string           `json:"target"`
	Verdict   carrel.Verdict   `json:"verdict"` // deny, or ask that nobody answered
	Rule      string           `json:"rule"`
	Reason    string           `json:"reason"`
	NextSteps []string         `json:"next_steps,omitempty"`
	Action    carrel.ActionID  `json:"action"` // of the first one
	Count     int64            `json:"count"`
}

// maxDenials bounds the different denials that are kept for the summary; the
// log has them all.
const maxDenials = 1000

// denials collects what was refused and tells the agent. It is safe for
// concurrent use.
type denials struct {
	notices *os.File      // may be nil
	found   func(Finding) // may be nil
	odd     patterns
	report  func(Denial)

	mu      sync.Mutex
	byKey   map[string]*Denial
	order   []string
	written int64 // bytes of notices
}

// refused is a gate.Gate's OnRefusal.
func (d *denials) refused(r *gate.Refusal) {
	d.add(Denial{
		Operation: r.Action.Operation, Target: target(r.Action), Verdict: r.Decision.Verdict,
		Rule: firstRule(r.Decision), Reason: r.Decision.Reason, NextSteps: r.Decision.NextSteps,
		Action: r.Action.ID, Count: 1,
	})
}

func firstRule(d carrel.Decision) string {
	if len(d.Rules) == 0 {
		return ""
	}
	return d.Rules[0]
}

func (d *denials) add(n Denial) {
	if d.found != nil {
		for _, f := range d.odd.see(n.Operation, n.Target, n.Rule, time.Now()) {
			d.found(f)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := fmt.Sprintf("%s\x00%s\x00%s", n.Operation, n.Target, n.Rule)
	if known := d.byKey[key]; known != nil {
		known.Count++
		return
	}
	if len(d.order) >= maxDenials {
		return
	}
	if d.byKey == nil {
		d.byKey = make(map[string]*Denial)
	}
	d.byKey[key] = &n
	d.order = append(d.order, key)
	d.notice(n)
	if d.report != nil {
		d.report(n)
	}
}

// maxNotices bounds the file the agent reads. A full file is not an error:
// the log has what follows.
const maxNotices = 1 << 20

// notice appends one line for the agent. The caller holds d.mu.
func (d *denials) notice(n Denial) {
	if d.notices == nil || d.written > maxNotices {
		return
	}
	d.write(n.line())
}

func (d *denials) write(line string) {
	written, _ := fmt.Fprintf(d.notices, "%s %s\n", time.Now().UTC().Format(time.RFC3339), line)
	d.written += int64(written)
}

// tell appends a line, already escaped, for the agent.
func (d *denials) tell(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.notices != nil && d.written <= maxNotices {
		d.write(line)
	}
}

// line says it in one line, for the agent and for people.
func (n Denial) line() string {
	what := "refused"
	if n.Verdict == carrel.Ask {
		what = "needs approval"
	}
	s := fmt.Sprintf("%s: %s %s", what, n.Operation, n.Target)
	if n.Reason != "" {
		s += ": " + n.Reason
	}
	if n.Rule != "" {
		s += " (" + n.Rule + ")"
	}
	if len(n.NextSteps) > 0 {
		s += "; " + n.NextSteps[0]
	}
	return terminal.Escape(s)
}

// list returns what was refused, in the order it first happened.
func (d *denials) list() []Denial {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Denial, 0, len(d.order))
	for _, key := range d.order {
		out = append(out, *d.byKey[key])
	}
	return out
}

// live are the denials that happened while the agent worked: those of files
// are found afterwards, when the change is taken.
func live(all []Denial) []Denial {
	files := []carrel.Operation{carrel.OpWrite, carrel.OpDelete, carrel.OpPublish}
	return slices.DeleteFunc(slices.Clone(all), func(n Denial) bool { return slices.Contains(files, n.Operation) })
}

// target names what an action is about, for people.
func target(a carrel.Action) string {
	switch a.Operation {
	case carrel.OpRead, carrel.OpWrite, carrel.OpDelete:
		return path.Clean(a.Path)
	case carrel.OpResolve:
		return a.Host
	case carrel.OpConnect:
		return destination(a)
	case carrel.OpRequest:
		return a.Method + " " + destination(a) + string(a.URL)
	case carrel.OpCredential:
		if a.Host == "" {
			return a.Subject
		}
		return a.Subject + " at " + destination(a)
	case carrel.OpExpose:
		return a.Subject + " at " + destination(a)
	case carrel.OpExec:
		return wordsOf(a.Argv)
	case carrel.OpPublish:
		if a.Publication != nil {
			return string(a.Publication.Change) + " to " + a.Publication.Target
		}
	}
	return a.Subject
}

// wordsOf shows where each word of a command begins and ends, as a shell would
// read it: one that only looks like two must not be approved for two.
func wordsOf(argv []carrel.Text) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = string(w)
		if w == "" || strings.ContainsFunc(words[i], func(r rune) bool { return strings.ContainsRune(" \t\n\"'`$;&|<>()*?[]#~\\!{}", r) }) {
			words[i] = "'" + strings.ReplaceAll(words[i], "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

func destination(a carrel.Action) string {
	if a.Service != "" {
		return a.Service
	}
	if a.Port == 0 {
		return a.Host
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}
