//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// job is a piece of work that is timed where it runs, so that the start of
// the walls is not counted.
type job struct {
	name  string
	parts []string // what it prints figures for
	args  []string
}

var jobs = []job{
	{"git", []string{"git status 1st", "git status 2nd", "git grep"}, nil},
	{"execs", []string{"2,000 execs"}, nil},
	{"small", []string{"20,000 small files (tmpfs)"}, nil},
	{"build", []string{"go build cold", "go build warm"}, nil},
}

// works are the jobs by name; each returns how long its parts took.
var works = map[string]func(args []string) ([]time.Duration, error){
	"git": gitWork, "execs": execWork, "small": smallWork, "build": buildWork,
	"connect": connectWork, "bulk": bulkWork,
	"origin": serveOrigin, "open": openWork, "keep": keepWork, "long": longWork, "hold": holdWork,
}

// work runs one job here and prints milliseconds as JSON.
func work(name string, args []string) error {
	f, ok := works[name]
	if !ok {
		return fmt.Errorf("no work %q", name)
	}
	took, err := f(args)
	if err != nil {
		return err
	}
	ms := make([]float64, len(took))
	for i, d := range took {
		ms[i] = float64(d.Nanoseconds()) / 1e6
	}
	return json.NewEncoder(os.Stdout).Encode(ms)
}

// spent runs commands one after the other and times each.
func spent(env []string, commands ...string) ([]time.Duration, error) {
	var out []time.Duration
	for _, line := range commands {
		words := strings.Fields(line)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Env = append(os.Environ(), env...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		started := time.Now()
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", line, err, errs.String())
		}
		out = append(out, time.Since(started))
	}
	return out, nil
}

func gitWork([]string) ([]time.Duration, error) {
	return spent(nil, "git status --porcelain", "git status --porcelain", "git grep -c needle\\|text")
}

func execWork([]string) ([]time.Duration, error) {
	started := time.Now()
	for range 2000 {
		if err := exec.Command("/bin/true").Run(); err != nil {
			return nil, err
		}
	}
	return []time.Duration{time.Since(started)}, nil
}

func smallWork([]string) ([]time.Duration, error) {
	started := time.Now()
	for i := range 20000 {
		dir := fmt.Sprintf("small/%d", i/500)
		if i%500 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
		}
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), []byte("small\n"), 0o644); err != nil {
			return nil, err
		}
	}
	took := time.Since(started)
	return []time.Duration{took}, os.RemoveAll("small")
}

const program = `package main

import (
	"encoding/json"
	"os"
)

func main() { _ = json.NewEncoder(os.Stdout).Encode(os.Args) }
`

func buildWork([]string) ([]time.Duration, error) {
	dir, err := os.MkdirTemp(".", "build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chdir(dir); err != nil {
		return nil, err
	}
	wd, _ := os.Getwd()
	for name, text := range map[string]string{"go.mod": "module bench\n\ngo 1.24\n", "main.go": program} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	env := []string{"GOCACHE=" + filepath.Join(wd, "cache"), "GOTOOLCHAIN=local", "GOFLAGS=-mod=mod", "CGO_ENABLED=0", "GOPROXY=off"}
	out, err := spent(env, "go build -o a .", "go build -o b .")
	_ = os.Chdir("..")
	return out, err
}

// work measures the jobs inside and outside, interleaved, and prints ratios.
func (b *bench) work() error {
	t := table{Title: "Work inside, x to bare", Columns: []string{"bare ms", "bubblewrap x", "carrel x"}}
	for _, j := range jobs {
		ws, err := b.place(j.name)
		if err != nil {
			return err
		}
		all := b.peers(ws)
		peers := []peer{all[0], all[1], all[len(all)-1]}
		if j.name == "small" {
			peers[2].wrap = b.onTmpfs(peers[2].wrap)
		}
		samples := make([][]sample, len(peers))
		for range max(3, b.o.n/4) {
			for i, p := range peers {
				if p.missing != "" {
					continue
				}
				ms, err := figures(p.wrap([]string{b.self, "work", j.name}))
				if err != nil {
					return fmt.Errorf("%s, %s: %w", p.name, j.name, err)
				}
				for k, v := range ms {
					if len(samples[i]) <= k {
						samples[i] = append(samples[i], nil)
					}
					samples[i][k] = append(samples[i][k], v)
				}
			}
		}
		for k, part := range j.parts {
			r := row{Name: part, Figures: map[string]float64{"bare ms": samples[0][k].median()}}
			for i, name := range []string{"", "bubblewrap x", "carrel x"} {
				if i > 0 && len(samples[i]) > k {
					r.Figures[name] = samples[i][k].median() / samples[0][k].median()
				}
			}
			t.Rows = append(t.Rows, r)
		}
		if j.name == "small" {
			_ = exec.Command("rm", "-rf", filepath.Dir(ws)).Run()
		}
	}
	b.print(t)
	return nil
}

// place returns the workspace of a job.
func (b *bench) place(job string) (string, error) {
	switch job {
	case "git", "execs":
		return b.path("tree"), b.tree(b.path("tree"), b.o.files)
	case "small":
		dir, err := os.MkdirTemp("/dev/shm", "carrel-bench-")
		if err != nil {
			return "", err
		}
		return filepath.Join(dir, "ws"), b.tree(filepath.Join(dir, "ws"), 10)
	}
	return b.path(job), b.tree(b.path(job), 10)
}

// onTmpfs keeps Carrel's private layer where the workspace is.
func (b *bench) onTmpfs(wrap func([]string) once) func([]string) once {
	return func(args []string) once {
		o := wrap(args)
		o.Env = append(o.Env, "XDG_STATE_HOME="+filepath.Join(filepath.Dir(o.Dir), "state"), "XDG_DATA_HOME="+filepath.Join(filepath.Dir(o.Dir), "data"))
		return o
	}
}

// figures runs a job and reads what it printed.
func figures(o once) ([]float64, error) {
	cmd := exec.Command(o.Args[0], o.Args[1:]...)
	cmd.Dir, cmd.Env = o.Dir, append(os.Environ(), o.Env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s", err, tail(errs.String()), tail(string(out)))
	}
	var ms []float64
	return ms, json.Unmarshal(out, &ms)
}
