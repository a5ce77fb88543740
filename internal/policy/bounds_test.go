package policy

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// doubling is a rule whose text is 2^n bytes long.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString("s0 := \"x\"\n")
	for i := range n {
		fmt.Fprintf(&b, "s%d := concat(\"\", [s%d, s%d])\n", i+1, i, i)
	}
	return b.String() + fmt.Sprintf("deny if s%d == input.path\n", n)
}

// heap is what the supervisor itself holds.
func heap() uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TestBombsBringDownOnlyTheirOwnProcess: attack E73. Each policy is denied
// with a reason within seconds, the supervisor's memory stays as it was, and
// another input of the same policy is answered afterwards.
func TestBombsBringDownOnlyTheirOwnProcess(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]string{
		"doubled text":   doubling(40),
		"cross product":  "deny if {\n\tr := numbers.range(1, 20000)\n\tcount({[x, y, z] | some x in r; some y in r; some z in r}) == 1\n}\n",
		"shifted number": "deny if bits.lsh(1, 1000000000000) == 1\n",
		"replaced text":  "a := concat(\"\", [x | some _ in numbers.range(1, 100000); x := \"xxxxxxxxxx\"])\ndeny if replace(replace(a, \"x\", a), \"x\", a) == \"\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			source := openHead + "governs := {\"write\", \"exec\"}\n" + strings.ReplaceAll(rules, "deny if ", "deny if input.operation == \"write\"\ndeny if ")
			source = strings.ReplaceAll(source, "deny if input.operation == \"write\"\ndeny if ", "deny if {\n\tinput.operation == \"write\"\n\tbomb\n}\nbomb if ")
			e := engine(t, user(source))
			before, start := heap(), time.Now()
			d := wantVerdict(t, e, inside, carrel.Deny, "")
			if took := time.Since(start); took > 3*deadline {
				t.Errorf("took %v", took)
			}
			if after := heap(); after > before+32<<20 {
				t.Errorf("the supervisor holds %d MiB more", (after-before)>>20)
			}
			t.Logf("%v %s", d.Rules, d.Reason)
			if d.Rules[0] == "user/deny" {
				t.Errorf("the bomb did not go off: %+v", d)
			}
			wantVerdict(t, e, execAction, carrel.Allow, "user/allow")
		})
	}
}

// TestTimeOutLeavesNothingBehind: attack E73, where a bomb grows too slowly to
// go off in its own time: the next question meets none of what it holds.
func TestTimeOutLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	slow := "deny if {\n\tinput.operation == \"write\"\n\tsome i in numbers.range(1, 100000)\n\tsome j in numbers.range(1, 100000)\n\ti * j < 0\n}\n"
	e := engine(t, user(openHead+"governs := {\"write\", \"exec\"}\n"+slow))
	used := e.remotes[0].process
	wantVerdict(t, e, inside, carrel.Deny, "user/time-out")
	wantVerdict(t, e, execAction, carrel.Allow, "user/allow")
	if e.remotes[0].process == used {
		t.Error("the process that ran out of time is asked again")
	}
	if e.remotes[0].ends != 0 {
		t.Error("a machine that is slow turns its policy off")
	}
}

// TestPolicyThatGoesOnFallingIsNotAskedForEver: starting a process costs more
// than an answer, so the agent must not be able to have one started each time.
func TestPolicyThatGoesOnFallingIsNotAskedForEver(t *testing.T) {
	e := engine(t, user(openHead+"deny if bits.lsh(1, 1000000000000) == 1\n"))
	e.remotes[0].ends = maxEnds - 1
	wantVerdict(t, e, inside, carrel.Deny, "user/ended")
	d := wantVerdict(t, e, inside, carrel.Deny, "user/ended")
	if !strings.Contains(d.Reason, "not asked again") {
		t.Error(d.Reason)
	}
	if r := e.remotes[0]; r.process != nil || r.ends != maxEnds {
		t.Errorf("a process was started: %v, %d ends", r.process, r.ends)
	}
}

// TestCompileBombsAreGivenUp: attack E74; compiling is bounded as evaluating is.
func TestCompileBombsAreGivenUp(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("x", 10)
	var vars strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&vars, "\tv%d := v%d + 1\n", i+1, i)
	}
	for name, source := range map[string]string{
		"long body":    openHead + "deny if {\n\tv0 := 1\n" + vars.String() + "}\n",
		"many indices": openHead + "x := input" + strings.Repeat("["+deep+"]", 5000) + "\n",
	} {
		before, start := heap(), time.Now()
		e, err := New(context.Background(), user(source))
		took := time.Since(start)
		if err == nil {
			e.Close()
		}
		if took > 2*maxCompile {
			t.Errorf("%s: took %v", name, took)
		}
		if after := heap(); after > before+32<<20 {
			t.Errorf("%s: the supervisor holds %d MiB more", name, (after-before)>>20)
		}
		t.Logf("%s: %v, %.200v", name, took, err)
	}
}

// TestClosedEngineDenies: what its process governed is denied, the floor goes on.
func TestClosedEngineDenies(t *testing.T) {
	e := engine(t, user(openHead))
	wantVerdict(t, e, inside, carrel.Allow, "user/allow")
	e.Close()
	wantVerdict(t, e, write("/workspace/b"), carrel.Deny, "user/closed")
	wantVerdict(t, e, execAction, carrel.Allow, "builtin/allow")
}

// TestQuestionsAboutDocumentsAreBounded: a policy that is asked about an
// attestation takes the verifier down as little as one that decides.
func TestQuestionsAboutDocumentsAreBounded(t *testing.T) {
	t.Parallel()
	document := map[string]any{"run": "run_x", "n": 3}
	ask := func(source string) (Answer, error) {
		return AskAbout(Layer{Name: "merge", Kind: Organisation, Files: []File{{"merge.rego", []byte("package merge\n\nimport rego.v1\n\n" + source)}}}, document)
	}
	if a, err := ask("allow if input.n == 3\n"); err != nil || a.Verdict != carrel.Allow {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := ask("allow if input.n == 4\n"); err != nil || a.Verdict != carrel.Deny {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := ask("allow if {\n"); err == nil || !strings.Contains(err.Error(), "merge.rego") {
		t.Errorf("what does not parse: %v", err)
	}
	for name, source := range map[string]string{
		"memory": "allow := true\ndeny if bits.lsh(1, 1000000000000) == 1\n",
		"time":   "allow := true\ndeny if count([1 | some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j == 0]) > 0\n",
	} {
		before, start := heap(), time.Now()
		a, err := ask(source)
		if err != nil || a.Verdict != carrel.Deny || len(a.Rules) == 0 || a.Rules[0] == "deny" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		t.Log(name, a.Reason)
		if took := time.Since(start); took > maxCompile+2*deadline {
			t.Errorf("%s: took %v", name, took)
		}
		if after := heap(); after > before+32<<20 {
			t.Errorf("%s: the caller holds %d MiB more", name, (after-before)>>20)
		}
	}
}
