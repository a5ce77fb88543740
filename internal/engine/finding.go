package engine

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// Finding is a pattern among refusals that deserves a look. The log has it as
// an observation.
type Finding struct {
	Name  string `json:"name"`
	What  string `json:"what"`
	Count int64  `json:"count"`
}

// The findings.
const (
	findRepeated    = "repeated-denial"    // the same thing, again and again
	findMany        = "many-destinations"  // looking for a way out
	findSensitive   = "sensitive-reads"    // a burst of reads of what holds secrets
	findPlaceholder = "placeholder-misuse" // a stand-in for a credential where it does not belong
	findPassedBy    = "hook-passed-by"     // a tool ran that policy denies
)

// When refusals become a finding. Each is raised again when there are ten
// times as many.
const (
	repeatedFrom  = 20
	manyFrom      = 30
	sensitiveFrom = 5
	burst         = time.Minute
	maxFollowed   = 10_000 // different targets that are followed; what comes later is still in the log
)

// findingNote is how the log says a finding.
const findingNote = "finding "

func (f Finding) record(run carrel.RunID) carrel.Record {
	return carrel.Record{Kind: carrel.KindObservation, Run: run, Note: carrel.Text(findingNote + f.Name + ": " + f.What), Counts: map[string]int64{"count": f.Count}}
}

// findingIn reads a finding back; "" if the record is none.
func findingIn(r carrel.Record) (name, what string) {
	rest, ok := strings.CutPrefix(string(r.Note), findingNote)
	name, what, found := strings.Cut(rest, ": ")
	if r.Kind != carrel.KindObservation || !ok || !found {
		return "", ""
	}
	return name, what
}

// patterns looks for findings among the refusals of one run. The zero value is
// ready; it is safe for concurrent use.
type patterns struct {
	mu           sync.Mutex // guards what follows
	targets      map[string]int64
	destinations window
	sensitive    window
}

// window counts what happened within the last burst.
type window struct {
	times []time.Time
	next  int // at how many a finding is raised
}

// add reports whether a finding is due, and how many there were.
func (w *window) add(now time.Time, from int) (int64, bool) {
	for len(w.times) > 0 && now.Sub(w.times[0]) > burst {
		w.times = w.times[1:]
	}
	w.times = append(w.times, now)
	if w.next == 0 {
		w.next = from
	}
	if len(w.times) < w.next {
		return 0, false
	}
	w.next *= 10
	return int64(len(w.times)), true
}

// see takes one refusal and returns what it completes.
func (p *patterns) see(op carrel.Operation, target, rule string, now time.Time) []Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Finding
	add := func(name, what string, count int64) { out = append(out, Finding{name, terminal.Escape(what), count}) }
	if p.targets == nil {
		p.targets = map[string]int64{}
	}
	key := string(op) + " " + target
	n, known := p.targets[key]
	if known || len(p.targets) < maxFollowed {
		n++
		p.targets[key] = n
	}
	if n == repeatedFrom || n > repeatedFrom && isTenfold(n) {
		add(findRepeated, fmt.Sprintf("%s was refused %d times (%s)", key, n, rule), n)
	}
	if network(op) && !known {
		if count, due := p.destinations.add(now, manyFrom); due {
			add(findMany, fmt.Sprintf("%d different destinations were refused within a minute, the last one %s", count, target), count)
		}
	}
	if op == carrel.OpRead && sensitiveRule(rule) {
		if count, due := p.sensitive.add(now, sensitiveFrom); due {
			add(findSensitive, fmt.Sprintf("%d reads of what holds secrets were refused within a minute, the last one %s", count, target), count)
		}
	}
	if strings.Contains(rule, "misplaced") && n == 1 {
		add(findPlaceholder, fmt.Sprintf("%s carried a placeholder that does not belong there (%s)", key, rule), 1)
	}
	return out
}

// isTenfold reports 200, 2000, …
func isTenfold(n int64) bool {
	for next := int64(repeatedFrom) * 10; next <= n; next *= 10 {
		if n == next {
			return true
		}
	}
	return false
}

func network(op carrel.Operation) bool {
	return op == carrel.OpResolve || op == carrel.OpConnect || op == carrel.OpRequest
}

func sensitiveRule(rule string) bool {
	for _, part := range []string{"credential", "secret", "hidden", "outside-workspace"} {
		if strings.Contains(rule, part) {
			return true
		}
	}
	return false
}
