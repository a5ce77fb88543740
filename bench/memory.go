//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory measures what each peer holds while a command sleeps: the resident
// set of the process that was started, and the proportional set of the whole
// tree without the command itself being counted apart.
func (b *bench) memory() error {
	ws := b.path("tree")
	if err := b.tree(ws, b.o.files); err != nil {
		return err
	}
	t := table{Title: "Memory while a command sleeps", Columns: []string{"supervisor RSS MiB", "whole tree PSS MiB"}}
	for _, p := range b.peers(ws) {
		r := row{Name: p.name, Missing: p.missing}
		if p.apart {
			continue // the same picture as when started by hand, and no timer needed for it
		}
		if r.Missing == "" {
			rss, pss, err := held(p.wrap([]string{"/bin/sleep", "2"}))
			r.Figures = map[string]float64{"supervisor RSS MiB": rss, "whole tree PSS MiB": pss}
			if err != nil {
				r.Missing = err.Error()
			}
		}
		t.Rows = append(t.Rows, r)
	}
	b.print(t)
	return nil
}

func held(o once) (rss, pss float64, err error) {
	cmd := exec.Command(o.Args[0], o.Args[1:]...)
	cmd.Dir, cmd.Env = o.Dir, append(os.Environ(), o.Env...)
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Second)
	rss = field(cmd.Process.Pid, "status", "VmRSS:")
	for _, pid := range descendants(cmd.Process.Pid) {
		pss += field(pid, "smaps_rollup", "Pss:")
	}
	return rss, pss, cmd.Wait()
}

// field reads one line in kB of a file in /proc, in MiB.
func field(pid int, file, name string) float64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), name); ok {
			kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return float64(kb) / 1024
		}
	}
	return 0
}

// descendants lists a process and everything below it.
func descendants(pid int) []int {
	out := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(word)
			out = append(out, descendants(child)...)
		}
	}
	return out
}
