//go:build linux

package engine

import (
	"testing"

	"github.com/carrel-dev/carrel"
)

// attacks.md 151: what a person is asked about shows where each word ends.
func TestAttackOneWordPosesAsSeveral(t *testing.T) {
	for _, c := range []struct {
		argv []carrel.Text
		want string
	}{
		{[]carrel.Text{"rm", "-rf", "/"}, "rm -rf /"},
		{[]carrel.Text{"rm", "-rf /"}, "rm '-rf /'"},
		{[]carrel.Text{"sh", "-c", "id; true"}, "sh -c 'id; true'"},
		{[]carrel.Text{"echo", "it's", "", "a=b", "x/y.go"}, `echo 'it'\''s' '' a=b x/y.go`},
		{[]carrel.Text{"echo", "a\nb"}, `echo 'a\x0ab'`},
	} {
		if got := describeAction(carrel.Action{Operation: carrel.OpExec, Argv: c.argv}); got != "exec "+c.want {
			t.Errorf("%q is shown as %s", c.argv, got)
		}
	}
}
