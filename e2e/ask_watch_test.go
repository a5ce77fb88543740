//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
)

// askingCommands asks people about each uname.
func askingCommands(h *host) []string {
	h.Helper()
	policy := h.write("uname.rego", `package cowork.access

import rego.v1

governs := {"exec"}

allow := true

ask contains {"rule": "look", "msg": "a person looks"} if input.argv[0] == "uname"
`)
	return []string{"--policy", policy, "--commands", "decide"}
}

// beside runs a script at a desk beside the test; the function awaits its end.
func (h *host) beside(script string, flags ...string) func() result {
	var r result
	var done sync.WaitGroup
	done.Go(func() { r = h.inside(script, flags...) })
	return func() result { done.Wait(); return r }
}

// A person at pending --watch is asked about what arrives, one after the
// other, and each answer is for the question that is shown: not for one that
// somebody else answered, and not for one that came too late.
func TestWatcherAsksAboutWhatArrives(t *testing.T) {
	needs.Tool(t, "tmux")
	h := asUser(t)
	flags := askingCommands(h)
	s := h.screen(carrelBin, "pending", "--watch")
	type answer struct {
		script string
		flags  []string
		keys   []string // typed at the question
		by     string   // or the verb that answers elsewhere
		shows  string   // afterwards, at the watcher
		runs   bool
	}
	for i, c := range []answer{
		{script: "uname -s", keys: []string{"yes"}, shows: "approved act_", runs: true},
		{script: "uname -s", keys: []string{"no"}, shows: "denied act_"},
		{script: "uname -s", by: "deny", shows: "answered elsewhere, or too late"},
		{script: "uname -s", flags: []string{"--ask-timeout", "1s"}, shows: "answered elsewhere, or too late"},
		{script: "uname -s", keys: []string{"perhaps"}, by: "approve", shows: "from another terminal", runs: true},
		{script: "uname -s; uname -s", keys: []string{"run"}, shows: "approved act_", runs: true},
	} {
		s.keys("y") // typed before the question: no part of its answer
		end := h.beside(c.script+"; true", append(c.flags, flags...)...)
		id := h.awaitQuestion().Action.ID
		s.awaitBelow(id, "exec uname -s", "Type yes")
		s.keys(keysOf(c.keys)...)
		if c.by != "" && len(c.keys) > 0 {
			s.awaitBelow(id, "left open until")
		}
		if c.by != "" {
			h.must(c.by, id)
		}
		s.awaitBelow(id, c.shows)
		want := 0
		if c.runs {
			want = strings.Count(c.script, "uname")
		}
		if r := end(); strings.Count(r.out, "Linux") != want {
			t.Errorf("case %d: %d times wanted: %s\n%s", i, want, r, s.text())
		}
	}
	// Two at once are asked one by one.
	end := h.beside("uname -s & sleep 1; uname -o & wait", flags...)
	first := h.awaitQuestion().Action.ID
	for strings.Count(h.must("pending", "--json").out, "\n") < 2 {
		time.Sleep(100 * time.Millisecond)
	}
	s.awaitBelow(first, "exec uname -s", "Type yes")
	s.keys("yes", "Enter")
	s.awaitBelow(first, "approved act_", "exec uname -o", "Type yes")
	s.keys("no", "Enter")
	s.awaitBelow(first, "denied act_")
	if r := end(); strings.TrimSpace(r.out) != "Linux" {
		t.Errorf("only one was approved: %s\n%s", r, s.text())
	}
	s.keys("C-d")
	s.await("exit=0")
	h.expect(h.must("log", "verify"), 0)
}

// A question at the terminal ends with its run, whatever ends that: nobody sits
// before one that no agent waits for. The end of the input is no answer, and
// leaves it to be answered elsewhere.
func TestQuestionEndsWithItsRun(t *testing.T) {
	needs.Tool(t, "tmux")
	h := asUser(t)
	flags := append([]string{carrelBin, "run"}, askingCommands(h)...)
	for _, c := range []struct {
		flags []string
		key   string
		code  string
	}{{nil, "C-c", "exit=130"}, {[]string{"--limit", "wall=10s"}, "x", "exit=143"}} {
		s := h.screen(slices.Concat(flags, c.flags, []string{"--", "bash", "-c", "uname -s; echo went on"})...)
		s.await("Type yes")
		s.keys(c.key)
		s.await("the run ends, and the question with it", c.code)
		s.tmux("kill-server")
	}
	s := h.screen(append(flags, "--", "bash", "-c", "uname -s; echo went on")...)
	s.await("Type yes")
	s.keys("C-d")
	s.await("left open until")
	h.must("approve", h.awaitQuestion().Action.ID)
	s.await("Linux", "went on", "exit=0")
}

// What waits is listed from anywhere: an answer is often given from another
// terminal, in the home.
func TestPendingIsListedInTheHome(t *testing.T) {
	h := asUser(t)
	end := h.beside("uname -s", askingCommands(h)...)
	id := h.awaitQuestion().Action.ID
	h.repo, h.home = h.home, h.repo
	h.env = append(h.env, "HOME="+h.repo)
	h.expect(h.carrel("pending"), 0, id)
	h.must("deny", id)
	end()
}

// awaitBelow waits until the screen shows every word from mark on.
func (s *screen) awaitBelow(mark string, words ...string) {
	s.Helper()
	missing := func() bool {
		_, below, _ := strings.Cut(s.text(), mark)
		return slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(below, w) })
	}
	for deadline := time.Now().Add(longest / 2); missing(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("below %s the screen lacks one of %q:\n%s", mark, words, s.text())
		}
	}
}

func keysOf(words []string) (out []string) {
	for _, w := range words {
		out = append(out, w, "Enter")
	}
	return out
}

// Where there is no terminal what arrives is printed, a line each, and
// answered by whoever reads it.
func TestWatcherStreamsWhatArrives(t *testing.T) {
	h := asUser(t)
	flags := askingCommands(h)
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := h.command(ctx, carrelBin, "pending", "--watch", "--json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, verb := range []string{"approve", "deny", "approve"} {
		end := h.beside("uname -s; true", flags...)
		var q question
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &q) != nil || !q.Held {
			t.Fatalf("%s: no question: %s, %v", verb, lines.Text(), lines.Err())
		}
		h.must(verb, q.Action.ID)
		if r := end(); strings.Contains(r.out, "Linux") != (verb == "approve") {
			t.Errorf("%s: %s", verb, r)
		}
	}
	_ = cmd.Process.Signal(os.Interrupt)
	if lines.Scan() {
		t.Errorf("one question is shown twice: %s", lines.Text())
	}
	_ = cmd.Wait()
}
