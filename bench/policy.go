//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy"
)

// benchPolicy has 50 rules and 200 hosts, as a team's policy may after a year.
func benchPolicy() string {
	var b strings.Builder
	b.WriteString("package cowork.access\n\nimport rego.v1\n\ngoverns := {\"write\", \"connect\"}\n\ndefault allow := false\n\nallow if startswith(input.path, \"/workspace/\")\n\nallow if input.host in hosts\n\nhosts := {")
	for i := range 200 {
		fmt.Fprintf(&b, "\"host%d.example.com\", ", i)
	}
	b.WriteString("}\n")
	for i := range 50 {
		fmt.Fprintf(&b, "\ndeny contains \"area %d is closed\" if startswith(input.path, \"/workspace/closed%d/\")\n", i, i)
	}
	return b.String()
}

// benchInput is one question as JSON, each with another path.
func benchInput(i int) string {
	return fmt.Sprintf(`{"operation":"write","path":"/workspace/internal/deep/file%d.go"}`, i)
}

func benchAction(i int) carrel.Action {
	path := fmt.Sprintf("/workspace/internal/deep/file%d.go", i)
	return carrel.Action{Operation: carrel.OpWrite, Path: path, RawPath: carrel.Text(path)}
}

// decider is one way to have a question answered.
type decider struct {
	name    string
	missing string
	once    func(i int) error
	count   int // how many questions in one round
	close   func()
	took    sample     // microseconds
	beside  []*decider // the engine alone with the same rules
}

// policy measures one decision, each time with an input that was not asked
// before: here, in a process of its own, and by other programs; and one call
// of a client's hook, which is a decision with its records.
func (b *bench) policy() error {
	dir := b.path("policy")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.rego"), []byte(benchPolicy()), 0o600); err != nil {
		return err
	}
	input := filepath.Join(dir, "input.json")
	if err := os.WriteFile(input, []byte(benchInput(0)), 0o600); err != nil {
		return err
	}
	user := policy.Layer{Name: "user", Kind: policy.User, Files: []policy.File{{Name: "policy.rego", Source: []byte(benchPolicy())}}}
	here := b.decideHere("carrel, the built-in floor, in process")
	bare := decidePrepared("opa in process, prepared, parsed input: the floor")
	bareOfUser := decidePrepared("opa in process, prepared, parsed input: 50 rules", benchPolicy())
	here.beside = []*decider{bare}
	apart := b.decideHere("carrel, and 50 rules in their own process", user)
	apart.beside = []*decider{bare, bareOfUser}
	opa, conftest := b.goProgram("opa", opaModule()), b.goProgram("conftest", conftestModule)
	hook, err := b.decideHook()
	if err != nil {
		return err
	}
	ways := []*decider{
		bare, bareOfUser, here, apart,
		b.decideServer(opa, dir),
		hook,
		b.decideCommand("carrel policy eval", b.bin, "policy", "eval", "--policy", dir, "--input", input),
		b.decideCommand("opa eval", opa, "eval", "--v1-compatible", "--data", filepath.Join(dir, "policy.rego"), "--input", input, "data.cowork.access"),
		b.decideCommand("conftest", conftest, "test", "--namespace", "cowork.access", "--policy", dir, input),
	}
	b.ask(ways)
	t := table{Title: "One decision, never asked before, µs", Columns: []string{"p50", "p99", "per second", "to opa"}}
	for _, w := range ways {
		if w.close != nil {
			w.close()
		}
		t.Rows = append(t.Rows, w.row())
	}
	b.print(t)
	return nil
}

// ask measures the ways by turns, so that what the machine does meanwhile
// falls on all of them.
func (b *bench) ask(ways []*decider) {
	next := 0
	for round := range b.o.n + 1 {
		for _, w := range ways {
			for range w.count {
				if w.missing != "" {
					break
				}
				next++
				started := time.Now()
				if err := w.once(next); err != nil {
					w.missing = err.Error()
				} else if round > 0 { // the first warms up
					w.took = append(w.took, float64(time.Since(started).Nanoseconds())/1000)
				}
			}
		}
	}
}

// row is the way's line of the table.
func (d *decider) row() row {
	r := row{Name: d.name, Missing: d.missing}
	if len(d.took) == 0 {
		return r
	}
	r.Figures = map[string]float64{"p50": d.took.median(), "p99": d.took.at(0.99), "per second": 1e6 / d.took.median()}
	engine := 0.0
	for _, o := range d.beside {
		engine += o.took.median()
	}
	if engine > 0 {
		r.Figures["to opa"] = d.took.median() / engine
	}
	return r
}

// decideHere asks an engine of this process.
func (b *bench) decideHere(name string, layers ...policy.Layer) *decider {
	e, err := policy.New(context.Background(), layers...)
	if err != nil {
		return &decider{name: name, missing: err.Error()}
	}
	return &decider{name: name, count: 500, close: e.Close, once: func(i int) error {
		if d := e.Decide(context.Background(), benchAction(i)); !d.Allows() {
			return errors.New(d.Reason)
		}
		return nil
	}}
}

// decideServer asks `opa run --server` over one kept connection.
func (b *bench) decideServer(path, dir string) *decider {
	d := &decider{name: "opa run --server", count: 200}
	if path == "" {
		d.missing = missingGoProgram
		return d
	}
	addr := "127.0.0.1:" + freePort()
	cmd := exec.Command(path, "run", "--server", "--v1-compatible", "--addr", addr, "--log-level", "error", filepath.Join(dir, "policy.rego"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		d.missing = err.Error()
		return d
	}
	d.close = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.once = func(i int) error {
		body := bytes.NewBufferString(`{"input":` + benchInput(i) + `}`)
		answer, err := http.Post("http://"+addr+"/v1/data/cowork/access", "application/json", body)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		said, err := io.ReadAll(answer.Body)
		if err == nil && !bytes.Contains(said, []byte(`"allow":true`)) {
			err = fmt.Errorf("it says %s", said)
		}
		return err
	}
	return d
}

// decideCommand starts a program for each question.
func (b *bench) decideCommand(name, path string, args ...string) *decider {
	d := &decider{name: name, count: 1}
	if path == "" {
		d.missing = missingGoProgram
		return d
	}
	d.once = func(int) error {
		_, err := timed(once{Args: append([]string{path}, args...)})
		return err
	}
	return d
}

// decideHook is one call of Claude Code's hook before a tool writes a file: a
// process with the policy, the decision, and its records made durable.
func (b *bench) decideHook() (*decider, error) {
	project := b.path("hooked")
	if err := os.MkdirAll(filepath.Join(project, ".git"), 0o700); err != nil {
		return nil, err
	}
	env := append(b.carrel(project)(nil).Env, "HOME="+b.dir)
	return &decider{name: "carrel hook claude-code, a call", count: 1, once: func(i int) error {
		call := fmt.Sprintf(`{"hook_event_name":"PreToolUse","session_id":"bench","cwd":%q,"permission_mode":"default","tool_name":"Write","tool_input":{"file_path":%q,"content":"x"}}`,
			project, fmt.Sprintf("%s/file%d.go", project, i))
		cmd := exec.Command(b.bin, "hook", "claude-code", "--hook", "PreToolUse")
		cmd.Dir, cmd.Env, cmd.Stdin = project, append(os.Environ(), env...), strings.NewReader(call)
		out, err := cmd.Output()
		if err == nil && strings.TrimSpace(string(out)) != "{}" {
			err = fmt.Errorf("it says %s", out)
		}
		return err
	}}, nil
}
