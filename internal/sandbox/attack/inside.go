//go:build linux

package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Words after which a program that embeds this package is called inside.
const (
	all = "all" // STAGE: every attack, one Result per line
	one = "one" // STAGE NAME: one attack
)

// Command returns the arguments with which a program must be started inside a
// desk to carry out the attacks on the stage in a file. via are those that
// lead it to Main.
func Command(via []string, stageFile string) []string {
	return append(append([]string{}, via...), all, stageFile)
}

// Main carries out what Command asks for, inside a desk: args are what follows
// via, before which the program's own name comes. It returns the program's
// exit code.
func Main(name string, via, args []string) int {
	if len(args) < 2 {
		fmt.Fprintln(os.Stderr, "this is for carrel selftest, which calls it inside a desk")
		return 2
	}
	var s Stage
	b, err := os.ReadFile(args[1])
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reading the stage:", err)
		return 2
	}
	out := json.NewEncoder(os.Stdout)
	for _, a := range For(&s) {
		switch {
		case args[0] == one && len(args) == 3 && args[2] == a.Name:
			err = out.Encode(timed(&a, &s))
		case args[0] == all && a.Alone:
			err = out.Encode(apart(&a, &s, append(append([]string{name}, via...), one, args[1], a.Name)))
		case args[0] == all:
			err = out.Encode(timed(&a, &s))
		}
		if err != nil {
			return 1
		}
	}
	return 0
}

// timed runs an attack on a thread that ends with it: some change what their
// thread may do.
func timed(a *Attack, s *Stage) Result {
	done := make(chan Result)
	go func() {
		runtime.LockOSThread()
		began := time.Now()
		r := a.run(s)
		r.TookMS = time.Since(began).Milliseconds()
		done <- r
	}()
	return <-done
}

// self is this program.
const self = "/proc/self/exe"

// patience is how long one attack in a process of its own may take.
const patience = 20 * time.Second

// apart runs an attack in a process of its own. That the process is killed by
// the filter is a wall too.
func apart(a *Attack, s *Stage, argv []string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = argv
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var r Result
	if json.Unmarshal(out.Bytes(), &r) == nil {
		return r
	}
	r = Result{Name: a.Name, How: fmt.Sprintf("its process said nothing: %v", err)}
	if cmd.ProcessState == nil {
		return r
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGSYS {
		r.Held, r.How = true, "seccomp ends the process (SIGSYS)"
		err := guarded(a.Twin, s)
		r.Twin, r.TwinHow = err == nil, describe(err)
	}
	return r
}
