package egress

import (
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/carrel-dev/carrel"
)

// budgets counts what was sent against what may be, for each rule that says
// so and for the whole run.
type budgets struct {
	mu   sync.Mutex
	run  int64 // 0: no bound
	sent map[string]int64
}

// wholeRun is the key of the run's own count, which no rule has.
const wholeRun = ""

// allowance is what one connection or request may still send.
type allowance struct {
	door   *Door
	of     *budgets
	action *carrel.Action
	rules  *Rules // that rule is of
	rule   Rule
}

// allowance returns what a, which does not change meanwhile, may send: the rule
// that grants it counts.
func (d *Door) allowance(a *carrel.Action) *allowance {
	al := &allowance{door: d, of: &d.sent, action: a}
	al.refresh()
	return al
}

// refresh finds the rule that counts anew if the rules have changed.
func (al *allowance) refresh() {
	rules, a := al.door.rules(), al.action
	if al.rules == rules {
		return
	}
	al.rules = rules
	if a.Service != "" { // which no rule grants
		return
	}
	for _, c := range rules.matches(a.Host, a.Port) {
		if a.Operation != carrel.OpRequest || c.grantsRequest(*a) {
			al.rule = c.rule
			return
		}
	}
}

// bounded reports whether what is sent has to be counted; nil counts nothing.
func (al *allowance) bounded() bool {
	if al == nil {
		return false
	}
	al.of.mu.Lock()
	defer al.of.mu.Unlock()
	return al.remaining() < math.MaxInt64
}

// remaining is left for who holds the lock.
func (al *allowance) remaining() int64 {
	al.refresh()
	left := int64(math.MaxInt64)
	if al.of.run > 0 {
		left = al.of.run - al.of.sent[wholeRun]
	}
	if al.rule.Upload > 0 {
		left = min(left, al.rule.Upload-al.of.sent[al.rule.String()])
	}
	return left
}

// spend counts n bytes, and refuses them if they are too many.
func (al *allowance) spend(n int64) error {
	al.of.mu.Lock()
	defer al.of.mu.Unlock()
	if al.remaining() < n {
		return al.exceeded()
	}
	if al.of.run == 0 && al.rule.Upload == 0 {
		return nil
	}
	al.of.sent[wholeRun] += n
	if al.rule.Upload > 0 {
		al.of.sent[al.rule.String()] += n
	}
	return nil
}

func (al *allowance) exceeded() *Breach {
	bound, whose, next := al.rule.Upload, "the rule "+al.rule.String(), "raise upload of that rule in the configuration, if that much is meant"
	if al.rule.Upload == 0 || al.of.run > 0 && al.of.run < bound {
		bound, whose, next = al.of.run, "the run", "carrel run --limit upload=SIZE, if that much is meant"
	}
	return &Breach{Action: *al.action, Rule: "egress/upload", Reason: fmt.Sprintf("%s lets %d bytes be sent, and this would be more", whose, bound), Next: []string{next}}
}

// metered counts what is read from a request's body.
type metered struct {
	io.ReadCloser
	allowance *allowance
}

// Read implements io.Reader.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if over := m.allowance.spend(int64(n)); over != nil {
		return 0, over
	}
	return n, err
}
