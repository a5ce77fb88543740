package evaluator

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Process is one evaluator. It is used by one goroutine at a time.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	said   tail
	closed sync.Once
}

// Start starts an evaluator with an empty environment and nothing but its
// three streams. It ends when Close is called or this process does.
func Start() (*Process, error) {
	if !known.Load() {
		return nil, errors.New("this program does not know the role of an evaluator: its main must ask evaluator.Inside")
	}
	self, err := program()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	p := &Process{cmd: exec.Command(self)}
	p.cmd.Args = []string{role}
	p.cmd.Env = []string{} // not nil, which would inherit; Windows adds what it needs
	p.cmd.Dir = string(os.PathSeparator)
	p.cmd.Stderr = &p.said
	if p.in, err = p.cmd.StdinPipe(); err == nil {
		p.out, err = p.cmd.StdoutPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err == nil {
		err = blocking(p.in, p.out)
	}
	if err != nil {
		return nil, fmt.Errorf("starting the evaluator of policies: %w", err)
	}
	return p, nil
}

// program is the file this process runs, also after it was replaced.
func program() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// ErrEnded is wrapped by what Call returns when the evaluator ended, or was
// ended because it did not answer in time.
var ErrEnded = errors.New("the evaluator ended")

// Call sends a message and returns the answer. After an error the process is
// gone.
func (p *Process) Call(message []byte, timeout time.Duration) ([]byte, error) {
	return p.Begin(message, timeout)()
}

// Begin sends a message and returns what waits for the answer, to be called
// once, before the next Begin: the caller can do something else meanwhile,
// within the same timeout.
func (p *Process) Begin(message []byte, timeout time.Duration) (answer func() ([]byte, error)) {
	late := time.AfterFunc(timeout, func() { _ = p.cmd.Process.Kill() }) // gone already is as good
	err := writeFrame(p.in, message)
	return func() ([]byte, error) {
		var answer []byte
		if err == nil {
			answer, err = readFrame(p.out)
		}
		if !late.Stop() {
			p.Close()
			return nil, fmt.Errorf("%w: no answer within %v", ErrEnded, timeout)
		}
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("%w: %s", ErrEnded, p.why())
		}
		return answer, nil
	}
}

// why says what the process said last, or how it ended.
func (p *Process) why() string {
	said := p.said.String()
	switch {
	case strings.Contains(said, "out of memory") || strings.Contains(said, "cannot allocate memory"):
		return "the policy needed more memory than it may have"
	case p.cmd.ProcessState.ExitCode() == exitMemory || p.cmd.ProcessState.ExitCode() == exitUnbounded:
		return strings.TrimSpace(said)
	}
	return p.cmd.ProcessState.String()
}

// Close ends the process and waits for it. It may be called more than once.
func (p *Process) Close() {
	p.closed.Do(func() {
		_ = p.cmd.Process.Kill() // gone already is as good
		_ = p.in.Close()
		_ = p.cmd.Wait() // how it ended is in ProcessState
	})
}

// tail keeps the beginning of what a process says on standard error.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const maxSaid = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[:min(len(b), maxSaid-len(t.text))]...)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
