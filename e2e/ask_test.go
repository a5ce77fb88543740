//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
)

// asking is a host with a service that policy asks people about.
func asking(h *host) (flags []string, fetch string) {
	h.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the service answered") })}
	go func() { _ = server.Serve(l) }()
	h.Cleanup(func() { _ = server.Close() })
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	policy := h.write("ask.rego", `package cowork.access

import rego.v1

governs := {"connect"}

default allow := false

allow if input.host != "svc.desk"

ask contains {"rule": "service", "msg": "a person decides about the service"} if input.host == "svc.desk"
`)
	return []string{"--host-service", "svc=127.0.0.1:" + port, "--policy", policy}, "curl -sS --max-time 280 http://svc.desk:" + port + "/"
}

type question struct {
	Action struct{ ID, Run, Host string }
	Digest string
	Count  int64
	Held   bool
}

// awaitQuestion waits until an action waits for a person.
func (h *host) awaitQuestion() question {
	h.Helper()
	for deadline := time.Now().Add(longest / 2); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var q question
		if out := h.must("pending", "--json").out; out != "" && json.Unmarshal([]byte(strings.Split(out, "\n")[0]), &q) == nil && q.Action.ID != "" {
			return q
		}
	}
	h.Fatal("nothing waits for an answer")
	return question{}
}

// answered runs a script at a desk whose one question gets this answer.
func (h *host) answered(flags []string, script string, answer ...string) (result, question) {
	h.Helper()
	var r result
	var done sync.WaitGroup
	done.Go(func() { r = h.inside(script, flags...) })
	q := h.awaitQuestion()
	if len(answer) > 0 {
		h.must(append(append([]string{answer[0]}, q.Action.ID), answer[1:]...)...)
	}
	done.Wait()
	return r, q
}

func TestActionWaitsForAPerson(t *testing.T) {
	asEachUser(t, func(h *host) {
		flags, fetch := asking(h)
		r, q := h.answered(flags, fetch, "approve", "--reason", "wanted")
		h.expect(r, 0, "the service answered", "waiting for a person: connect svc")
		if !q.Held || q.Action.Host != "svc.desk" || q.Digest == "" {
			h.Errorf("the question was %+v", q)
		}
		if out := h.must("pending").out; out != "" {
			h.Errorf("still open: %s", out)
		}
		h.expect(h.must("policy", "learn", q.Action.Run), 0, "ratified if {", `input.host == "svc.desk"`, "allowed once; last by")
		r, _ = h.answered(flags, fetch, "deny", "--reason", "unwanted")
		if r.code == 0 || strings.Contains(r.out, "the service answered") {
			h.Errorf("denied: %s", r)
		}
		h.expect(h.must("log", "show", "--all"), 0, "approve", "refused")
	})
}

func TestUnansweredActionIsDenied(t *testing.T) {
	h := asUser(t)
	flags, fetch := asking(h)
	r := h.inside(fetch, append(flags, "--ask-timeout", "1s")...)
	if r.code == 0 || strings.Contains(r.out, "the service answered") || r.took > 20*time.Second {
		h.Errorf("unanswered: %s", r)
	}
	if !h.refusedRecord("connect", "svc.desk") {
		h.Error("the log has no refusal")
	}
	if out := h.must("pending").out; out != "" {
		h.Errorf("still open: %s", out)
	}
}

func TestAnswerIsRememberedAsAsked(t *testing.T) {
	h := asUser(t)
	flags, fetch := asking(h)
	r, _ := h.answered(flags, fetch+" && "+fetch+" && "+fetch, "approve", "--remember", "run")
	if strings.Count(r.out, "the service answered") != 3 {
		h.Errorf("remembered for the run: %s", r)
	}
	var proposed result
	var done sync.WaitGroup
	done.Go(func() { r = h.inside(fetch, flags...) })
	q := h.awaitQuestion()
	proposed = h.must("approve", q.Action.ID, "--remember", "rule")
	done.Wait()
	h.expect(r, 0, "the service answered")
	h.expect(proposed, 0, "proposed", `input.host == "svc.desk"`, "run1/service")
	if r := h.inside(fetch, append(flags, "--ask-timeout", "1s")...); r.code == 0 {
		h.Error("what was proposed is in force")
	}
}

// Each execution is of another process; an answer for the run is for the
// command, and one for the action for that execution alone.
func TestCommandIsRememberedForTheRun(t *testing.T) {
	h := asUser(t)
	policy := h.write("exec.rego", `package cowork.access

import rego.v1

governs := {"exec"}

allow := true

ask contains {"rule": "look", "msg": "a person looks"} if input.argv[0] == "uname"
`)
	flags := []string{"--policy", policy, "--commands", "decide", "--ask-timeout", "5s"}
	const script = "uname -s; uname -s; uname -s; uname -n && echo another went through"
	r, _ := h.answered(flags, script, "approve", "--remember", "run")
	if strings.Count(r.out, "Linux") != 3 || strings.Contains(r.out, "another went through") {
		h.Errorf("remembered for the run: %s", r)
	}
	r, _ = h.answered(flags, "uname -s; uname -s", "approve")
	if strings.Count(r.out, "Linux") != 1 {
		h.Errorf("approved once: %s", r)
	}
}

func TestIdenticalAsksAreOneQuestion(t *testing.T) {
	h := asUser(t)
	flags, fetch := asking(h)
	script := "for i in 1 2 3 4 5 6 7 8; do " + fetch + " & done; wait"
	var r result
	var done sync.WaitGroup
	done.Go(func() { r = h.inside(script, flags...) })
	q := h.awaitQuestion()
	for deadline := time.Now().Add(longest / 2); q.Count < 8 && time.Now().Before(deadline); q = h.awaitQuestion() {
		time.Sleep(200 * time.Millisecond)
	}
	if lines := strings.Count(h.must("pending", "--json").out, "\n"); lines != 1 || q.Count != 8 {
		h.Errorf("%d questions, count %d", lines, q.Count)
	}
	h.must("approve", q.Action.ID)
	done.Wait()
	if strings.Count(r.out, "the service answered") != 8 {
		h.Errorf("%s", r)
	}
}

// H148: whatever the agent does, nobody but the person outside answers.
func TestAgentCannotAnswerItsOwnQuestion(t *testing.T) {
	asEachUser(t, func(h *host) {
		flags, fetch := asking(h)
		script := `exec 3<&0
` + fetch + ` & asked=$!
for i in 1 2 3 4 5 6 7 8 9 10; do grep -q act_ /run/carrel/notices 2>/dev/null && break; sleep 0.1; done
` + carrelBin + ` pending; ` + carrelBin + ` pending --json
for id in $(cat /run/carrel/* 2>/dev/null | grep -o 'act_[0-9a-z]*' | sort -u) act_06h093na30dv8bcrst96y9tbn4; do
  ` + carrelBin + ` approve $id --reason mine; echo "approve says $?"
done
(echo yes; echo run; echo y) > /dev/tty; echo yes; printf 'yes\r' > /dev/console
mkdir -p ` + h.dir + `/state/carrel/approvals && echo '{}' > ` + h.dir + `/state/carrel/approvals/x.granted.json
ls ` + h.dir + `/state/carrel/approvals/questions
wait $asked; echo "fetch says $?"`
		r := h.inside(script, append(flags, "--ask-timeout", "4s", "--ro", carrelBin)...)
		h.expect(r, 0, "fetch says")
		if strings.Contains(r.out, "the service answered") || strings.Contains(r.out, "fetch says 0") || strings.Contains(r.out, "approve says 0") {
			h.Errorf("%s", r)
		}
		if h.exists("state/carrel/approvals/x.granted.json") {
			h.Error("it wrote into the host's answers")
		}
	})
}

func TestPersonAnswersInTheTerminal(t *testing.T) {
	needs.Tool(t, "tmux")
	asEachUser(t, func(h *host) {
		flags, fetch := asking(h)
		for _, c := range []struct{ word, want string }{{"yes", "the service answered"}, {"no", "fetch says 7"}} {
			s := h.screen(append(append([]string{carrelBin, "run"}, flags...), "--", "bash", "-c", fetch+" || echo fetch says 7; echo; read -p more: x; echo got $x")...)
			s.await("the agent waits for you", "connect svc", "Type yes")
			s.keys("maybe", "Enter") // no answer: it can still be given elsewhere
			s.await("left open until")
			if q := h.awaitQuestion(); !q.Held {
				h.Error("a word that is no answer ended the question")
			}
			op := map[string]string{"yes": "approve", "no": "deny"}[c.word]
			h.must(op, h.awaitQuestion().Action.ID)
			s.await("more:")
			s.keys("typed", "Enter") // the terminal is the desk's again
			s.await("got typed", "exit=0")
			s.tmux("kill-server")
		}
		s := h.screen(append(append([]string{carrelBin, "run"}, flags...), "--", "bash", "-c", fetch)...)
		s.await("the agent waits for you", "Type yes")
		s.keys("yes", "Enter")
		s.await("the service answered", "exit=0")
	})
}

// The agent's own start is asked about before the desk has the terminal.
func TestPersonIsAskedAboutTheStart(t *testing.T) {
	needs.Tool(t, "tmux")
	asEachUser(t, func(h *host) {
		policy := h.write("start.rego", `package cowork.access

import rego.v1

governs := {"exec"}

default allow := false

allow if not "bash" in input.programs

ask contains {"rule": "shells", "msg": "a person decides about shells"} if "bash" in input.programs
`)
		command := []string{carrelBin, "run", "--policy", policy, "--", "bash", "-c", "echo at desk $((1+1)); read x; echo got $x"}
		s := h.screen(command...)
		s.await("the agent waits for you", "Type yes")
		s.keys("yes", "Enter")
		s.await("at desk 2")
		s.keys("typed", "Enter") // the terminal is the desk's now
		s.await("got typed", "exit=0")
		s.tmux("kill-server")

		s = h.screen(command...)
		s.await("the agent waits for you", "Type yes")
		s.keys("no", "Enter")
		s.await("said no", "exit=125")
		s.tmux("kill-server")

		s = h.screen(command...)
		s.await("the agent waits for you", "Type yes")
		s.keys("C-c")
		s.await("exit=1") // and not the agent's
	})
}
