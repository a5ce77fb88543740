//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// sample is what was measured of one thing, in the table's unit.
type sample []float64

func (s sample) at(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (s sample) median() float64 { return s.at(0.5) }

// once is a command and the environment it needs.
type once struct {
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
}

// timed runs a command and returns how long it took from start to exit.
func timed(o once) (time.Duration, error) {
	cmd := exec.Command(o.Args[0], o.Args[1:]...)
	cmd.Dir, cmd.Env = o.Dir, append(os.Environ(), o.Env...)
	var errs strings.Builder
	cmd.Stderr = &errs
	started := time.Now()
	err := cmd.Run()
	took := time.Since(started)
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(o.Args, " "), err, tail(errs.String()))
	}
	return took, nil
}

func tail(s string) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-300):]
}

// answer is what the timer says of one command.
type answer struct {
	Took  time.Duration `json:"took"`
	Error string        `json:"error,omitempty"`
}

// serveTimer times commands for another process: some peers need a mount
// namespace that the others must not be measured in.
func serveTimer(in io.Reader, out io.Writer) error {
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o once
		if err := dec.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		took, err := timed(o)
		a := answer{Took: took}
		if err != nil {
			a.Error = err.Error()
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}

// timer is a process that times commands where the unified cgroup hierarchy
// is not mounted: crun and runc refuse a hybrid one.
type timer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startTimer() (*timer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := &timer{cmd: exec.Command("unshare", "-m", "sh", "-c", `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" timer`, self)}
	t.cmd.Stderr = os.Stderr
	if t.in, err = t.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t.out = bufio.NewReader(out)
	return t, t.cmd.Start()
}

func (t *timer) timed(o once) (time.Duration, error) {
	if err := json.NewEncoder(t.in).Encode(o); err != nil {
		return 0, err
	}
	line, err := t.out.ReadBytes('\n')
	if err != nil {
		return 0, fmt.Errorf("timer: %w", err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return 0, err
	}
	if a.Error != "" {
		return 0, fmt.Errorf("%s", a.Error)
	}
	return a.Took, nil
}

func (t *timer) close() {
	_ = t.in.Close()
	_ = t.cmd.Wait()
}
