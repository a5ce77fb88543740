package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/needs"
)

func TestPageToAFileIsWrittenThrough(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = Page(t.Context(), f, PagerOptions{}, func(w io.Writer) error {
		_, err := io.WriteString(w, "line\n")
		return err
	})
	if got, _ := os.ReadFile(f.Name()); err != nil || string(got) != "line\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// The pager must not run what LESSOPEN or a lesskey file of the user names,
// and must not let the reader start anything.
func TestThePagerRunsNothing(t *testing.T) {
	if findPager() == "" {
		needs.Missing(t, "less", nil) // Page then writes straight through
	}
	if os.Getenv("CARREL_TEST_PAGE") != "" {
		pageLines()
	}
	canary := filepath.Join(t.TempDir(), "canary")
	master, slave := pty(t)
	_ = unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 200})
	shown := &recorder{}
	go shown.run(master, 0)
	child := exec.Command(os.Args[0], "-test.run=^TestThePagerRunsNothing$")
	child.Env = []string{"CARREL_TEST_PAGE=1", "TERM=xterm", "LANG=C.UTF-8", "HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	for _, name := range []string{"LESSOPEN", "LESSCLOSE", "LESS", "LESSEDIT", "VISUAL", "EDITOR", "SHELL"} {
		child.Env = append(child.Env, name+"=|-touch "+canary+"; cat %s")
	}
	child.Stdin, child.Stdout, child.Stderr = slave, slave, slave
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	for end := time.Now().Add(5 * time.Second); !strings.Contains(shown.text(), "line 20") && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	_, _ = master.WriteString("!touch " + canary + "\r |$touch " + canary + "\rvs" + canary + "\r")
	time.Sleep(100 * time.Millisecond)
	for range 50 {
		_, _ = master.WriteString("q")
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			done <- nil
		case <-time.After(100 * time.Millisecond):
			continue
		}
		break
	}
	if len(done) == 0 {
		_ = child.Process.Kill()
		t.Fatalf("the pager does not end: %.300q", shown.text())
	}
	if !strings.Contains(shown.text(), "line 1 ") || !strings.Contains(shown.text(), "\x1b[31mred") {
		t.Errorf("shown: %.200q", shown.text())
	}
	if strings.Contains(shown.text(), "\x1b]52") {
		t.Error("the pager passes the clipboard sequence on")
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("something was run")
	}
}

// pageLines is the process of the test above that has a terminal of its own.
func pageLines() {
	err := Page(context.Background(), os.Stdout, PagerOptions{Environ: os.Environ()}, func(w io.Writer) error {
		for i := range 200 {
			fmt.Fprintf(w, "line %d \x1b[31mred\x1b[0m \x1b]52;c;eA==\a\n", i)
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestPagerEnvironmentIsClean(t *testing.T) {
	env := strings.Join(pagerEnviron([]string{"LESSOPEN=|x", "LESS=-I", "HOME=/h", "PATH=/p", "TERM=xterm", "LANG=de_DE.UTF-8", "EDITOR=vi"}), "\n")
	for _, name := range []string{"LESSOPEN=", "LESS=", "HOME=", "PATH=", "EDITOR="} {
		if strings.HasPrefix(env, name) || strings.Contains(env, "\n"+name) {
			t.Errorf("%s is passed", name)
		}
	}
	for _, kv := range []string{"LESSSECURE=1", "TERM=xterm", "LANG=de_DE.UTF-8"} {
		if !strings.Contains(env, kv) {
			t.Errorf("%s is missing", kv)
		}
	}
}

func TestProgressIsOneLineAndIsWiped(t *testing.T) {
	master, slave := pty(t)
	shown := &recorder{}
	go shown.run(master, 0)
	p := NewProgress(slave)
	p.Show("10 of 20\x1b]52;c;x\a")
	p.Show("11 of 20") // too fast
	p.Done()
	p.Done()
	want := "\r10 of 20\\x1b]52;c;x\\x07\x1b[K\r\x1b[K"
	for end := time.Now().Add(2 * time.Second); shown.text() != want; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q", shown.text())
		}
	}
	if !Colors(slave, false) || Colors(slave, true) || Colors(nil, false) {
		t.Error("colours")
	}
	f, _ := os.Create(filepath.Join(t.TempDir(), "f"))
	defer f.Close()
	q := NewProgress(f)
	q.Show("x")
	q.Done()
	if fi, _ := f.Stat(); fi.Size() != 0 || Colors(f, false) {
		t.Error("a file is treated as a terminal")
	}
}
