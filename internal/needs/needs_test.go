package needs

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
)

// ended says how a test ended.
type ended struct {
	testing.TB
	how string
}

func (e *ended) Helper()          {}
func (e *ended) Fatal(why ...any) { e.end("failed", why) }
func (e *ended) Skip(why ...any)  { e.end("skipped", why) }

func (e *ended) end(how string, why []any) {
	e.how = how + ": " + why[0].(string)
	runtime.Goexit()
}

// endOf says how a test ends that does this.
func endOf(test func(testing.TB)) string {
	e, done := &ended{}, make(chan struct{})
	go func() {
		defer close(done)
		test(e)
	}()
	<-done
	return e.how
}

func TestWhatIsMissingFailsWhereCIIsSet(t *testing.T) {
	for ci, want := range map[string]string{"true": "failed: ", "1": "failed: ", "": "skipped: "} {
		t.Setenv("CI", ci)
		how := endOf(func(t testing.TB) { Missing(t, "a wall", errors.New("no bricks")) })
		if how != want+"missing here: a wall: no bricks" {
			t.Errorf("CI=%s: %s", ci, how)
		}
		how = endOf(func(t testing.TB) { Tool(t, "sh", "carrel-no-such-program") })
		if !strings.HasPrefix(how, want+"missing here: carrel-no-such-program") {
			t.Errorf("CI=%s: %s", ci, how)
		}
		if how := endOf(func(t testing.TB) { Tool(t, "sh") }); how != "" {
			t.Errorf("what is there: %s", how)
		}
	}
}

// An ordinary user misses root, but where root runs the same tests.
func TestRoot(t *testing.T) {
	t.Setenv("CI", "true")
	want := map[bool]string{true: "", false: "failed: missing here: root"}[os.Geteuid() == 0]
	if os.Getenv(againVar) != "" {
		want = "skipped: root"
	}
	if how := endOf(Root); !strings.HasPrefix(how, want) || want == "" && how != "" {
		t.Errorf("got %q, want %q", how, want)
	}
	if out := AsUser(t, "^TestRoot$"); os.Geteuid() == 0 && !strings.Contains(out, "--- PASS: TestRoot ") {
		t.Errorf("not run as an ordinary user:\n%s", out)
	}
}
