//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// bench is one run: a directory of its own and what it has found so far.
type bench struct {
	o      options
	dir    string // on a real disk
	bin    string // carrel
	self   string // this program, in dir so that peers can show it
	timer  *timer
	tables []table
}

func newBench(o options) (*bench, error) {
	dir, err := os.MkdirTemp("", "carrel-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{o: o, dir: dir}
	if b.bin, err = filepath.Abs(o.carrel); err != nil {
		return nil, err
	}
	if _, err := os.Stat(b.bin); err != nil {
		return nil, fmt.Errorf("%w: build it first with make build", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b.self = b.path("bench")
	for _, d := range []string{"state", "data", "config", "runtime"} {
		if err := os.Mkdir(b.path(d), 0o700); err != nil {
			return nil, err
		}
	}
	return b, exec.Command("cp", self, b.self).Run()
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) close() {
	if b.timer != nil {
		b.timer.close()
	}
	_ = exec.Command("rm", "-rf", b.dir).Run()
}

// timed measures one run of a command by a peer.
func (b *bench) timed(p peer, args []string) (time.Duration, error) {
	o := p.wrap(args)
	if !p.apart {
		return timed(o)
	}
	if b.timer == nil {
		var err error
		if b.timer, err = startTimer(); err != nil {
			return 0, err
		}
	}
	return b.timer.timed(o)
}

// tree makes a git repository of many small files, once, and returns it.
func (b *bench) tree(dir string, files int) error {
	if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
		return nil
	}
	for i := range files {
		folder := filepath.Join(dir, fmt.Sprintf("d%03d", i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		text := fmt.Sprintf("file %d\nsome text to look through\n", i)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("f%d.txt", i)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=b", "-c", "user.email=b@example.com", "commit", "-q", "-m", "tree"}} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %v: %w: %s", args, err, out)
		}
	}
	return nil
}

// start measures /bin/true from start to exit in a big workspace.
func (b *bench) start() error {
	ws := b.path("tree")
	if err := b.tree(ws, b.o.files); err != nil {
		return err
	}
	t := table{Title: fmt.Sprintf("Start to exit of /bin/true, %d files, n = %d", b.o.files, b.o.n), Columns: []string{"ms", "p90", "x"}}
	peers := b.peers(ws)
	samples := make([]sample, len(peers))
	for i := range b.o.n + 1 {
		for j := range peers {
			p := &peers[j]
			if p.missing != "" {
				continue
			}
			took, err := b.timed(*p, []string{"/bin/true"})
			if err != nil {
				p.missing = err.Error()
			} else if i > 0 { // the first warms up
				samples[j] = append(samples[j], float64(took.Microseconds())/1000)
			}
		}
	}
	for j, p := range peers {
		t.Rows = append(t.Rows, row{Name: p.name, Missing: p.missing, Figures: map[string]float64{
			"ms": samples[j].median(), "p90": samples[j].at(0.9), "x": samples[j].median() / samples[0].median(),
		}})
	}
	b.print(t)
	return nil
}
