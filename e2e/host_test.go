//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
)

// host is one installation of one user: a home, a configuration, a state and
// a repository, all empty at first but for one commit.
type host struct {
	*testing.T
	uid, gid int
	dir      string
	repo     string
	home     string
	env      []string // further variables of the user
	under    []string // what carrel is started under: another machine
}

// asEachUser runs a test as root and as an ordinary user, both at once: most of
// their time is waiting. Started by an ordinary user it can only be that one.
func asEachUser(t *testing.T, test func(h *host)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Run("root", func(t *testing.T) { needs.Root(t) })
		t.Run("user", func(t *testing.T) { test(newHost(t, os.Getuid(), os.Getgid())) })
		return
	}
	if name := os.Getenv(elsewhereVar); name != "" {
		asEachUserElsewhere(t, elsewhere[name], test)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { t.Run("root", func(t *testing.T) { test(newHost(t, 0, 0)) }) })
	both.Go(func() {
		t.Run("user", func(t *testing.T) { test(newHost(t, number(ordinary.Uid), number(ordinary.Gid))) })
	})
	both.Wait()
}

// asUser runs a test as an ordinary user only: where who asks makes no
// difference and time matters.
func asUser(t *testing.T) *host {
	t.Helper()
	if os.Getuid() != 0 {
		return newHost(t, os.Getuid(), os.Getgid())
	}
	return newHost(t, number(ordinary.Uid), number(ordinary.Gid))
}

func newHost(t *testing.T, uid, gid int) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "carrel-host-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 30 { // a run that was cut off may still be writing
			if exec.Command("rm", "-rf", dir).Run() == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("%s cannot be cleared", dir)
	})
	h := &host{T: t, uid: uid, gid: gid, dir: dir, repo: filepath.Join(dir, "repo"), home: filepath.Join(dir, "home")}
	h.own(dir)
	for _, d := range []string{"repo", "home", "config/carrel", "state", "cache", "data", "runtime", "tmp"} {
		h.mkdir(filepath.Join(dir, d))
	}
	h.write("home/.gitconfig", "[user]\n\tname = Example User\n\temail = user@example.com\n")
	h.write("repo/README.md", "sample\n")
	h.write("repo/main.sh", "echo main\n")
	h.git("init", "-q", "-b", "main")
	h.git("add", "-A")
	h.git("commit", "-q", "-m", "first")
	return h
}

func (h *host) own(path string) {
	h.Helper()
	if err := os.Lchown(path, h.uid, h.gid); err != nil {
		h.Fatal(err)
	}
}

func (h *host) mkdir(path string) {
	h.Helper()
	if _, err := os.Lstat(path); err == nil {
		return
	}
	if parent := filepath.Dir(path); parent != h.dir {
		h.mkdir(parent)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		h.Fatal(err)
	}
	h.own(path)
}

// write makes a file below the host's directory, owned by its user.
func (h *host) write(name, text string) string {
	h.Helper()
	path := filepath.Join(h.dir, name)
	h.mkdir(filepath.Dir(path))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.Fatal(err)
	}
	h.own(path)
	return path
}

func (h *host) read(name string) string {
	h.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.Fatal(err)
	}
	return string(b)
}

func (h *host) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(h.dir, name))
	return err == nil
}

// result is how a command ended.
type result struct {
	out, err string
	code     int
	took     time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("exit %d after %v\n--- stdout\n%s--- stderr\n%s", r.code, r.took.Round(time.Millisecond), r.out, r.err)
}

// longest is how long any one command of a test may take. A busy machine has
// been seen to stand still for most of a minute.
const longest = 5 * time.Minute

// programs is the PATH of a plain system, behind the Node.js of these tests
// where that is none of it (.ci/node).
var programs = sync.OnceValue(func() string {
	const plain = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin"
	node, err := exec.LookPath("node")
	if dir := filepath.Dir(node); err == nil && !slices.Contains(filepath.SplitList(plain), dir) {
		return dir + ":" + plain
	}
	return plain
})

// command builds a command that runs as the host's user in its repository.
func (h *host) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = h.repo
	cmd.Env = append([]string{
		"PATH=" + programs(), "HOME=" + h.home, "LANG=C.UTF-8",
		"XDG_CONFIG_HOME=" + h.dir + "/config", "XDG_STATE_HOME=" + h.dir + "/state", "XDG_CACHE_HOME=" + h.dir + "/cache", "XDG_DATA_HOME=" + h.dir + "/data",
		"XDG_RUNTIME_DIR=" + h.dir + "/runtime", "TMPDIR=" + h.dir + "/tmp", "USER=test", "SHELL=/bin/bash", "TERM=xterm",
	}, h.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(h.uid), Gid: uint32(h.gid)}
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (h *host) start(input, name string, args ...string) result {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := h.command(ctx, name, args...)
	if input != "" {
		cmd.Stdin = strings.NewReader(input)
	}
	return h.finish(cmd)
}

func (h *host) finish(cmd *exec.Cmd) result {
	h.Helper()
	var out, errs bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &errs
	started := time.Now()
	err := cmd.Run()
	if cmd.ProcessState == nil {
		h.Fatalf("starting %v: %v", cmd.Args, err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode(), time.Since(started)}
}

// carrel runs the binary under test.
func (h *host) carrel(args ...string) result {
	h.Helper()
	if len(h.under) == 0 {
		return h.start("", carrelBin, args...)
	}
	return h.startElsewhere(args...)
}

// must runs the binary and fails the test unless it exits with 0.
func (h *host) must(args ...string) result {
	h.Helper()
	r := h.carrel(args...)
	if r.code != 0 {
		h.Fatalf("carrel %s: %s", strings.Join(args, " "), r)
	}
	return r
}

// inside runs a shell script at a desk with the given flags.
func (h *host) inside(script string, flags ...string) result {
	h.Helper()
	if strings.Contains(script, probeBin) {
		flags = append(flags, "--ro", probeBin)
	}
	return h.carrel(append(append([]string{"run"}, flags...), "--", "bash", "-c", script)...)
}

// probe runs the probe at a desk.
func (h *host) probe(args ...string) result {
	h.Helper()
	return h.carrel(append([]string{"run", "--", probeBin}, args...)...)
}

func (h *host) git(args ...string) string {
	h.Helper()
	r := h.start("", "git", args...)
	if r.code != 0 {
		h.Fatalf("git %s: %s", strings.Join(args, " "), r)
	}
	return strings.TrimSpace(r.out)
}

// file is a file of a change, as review shows it.
type file struct {
	Path     text
	Change   string
	Kind     string
	Mode     uint32
	Size     int64
	Decision struct {
		Verdict string
		Rules   []string
		Reason  string
	}
	Labels []struct{ Name, Severity, Reason string }
}

// text is a string, or base64 of bytes that are not UTF-8.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = string(b)
	}
	*t = text(s)
	return nil
}

func (f file) severity() int {
	order, top := map[string]int{"low": 1, "medium": 2, "high": 3, "critical": 4}, 0
	for _, l := range f.Labels {
		top = max(top, order[l.Severity])
	}
	return top
}

// change is what `review --json` prints.
type change struct {
	Run, Change, Digest, State string
	Files, Withheld            []file
}

func (h *host) review(args ...string) change {
	h.Helper()
	r := h.must(append([]string{"review", "--json"}, args...)...)
	var c change
	if err := json.Unmarshal([]byte(r.out), &c); err != nil {
		h.Fatalf("review --json: %v\n%s", err, r.out)
	}
	return c
}

func find(files []file, path string) (file, bool) {
	for _, f := range files {
		if string(f.Path) == path {
			return f, true
		}
	}
	return file{}, false
}

// record is the part of a log record that tests look at.
type record struct {
	Kind   string
	Run    string
	Action *struct {
		Operation, Host, Path, Subject string
		Port                           int
	}
	Decision *struct {
		Verdict string
		Rules   []string
		Reason  string
	}
	Repeats int64
	Counts  map[string]int64
}

// records returns the last run's records.
func (h *host) records() []record {
	h.Helper()
	var out []record
	dec := json.NewDecoder(strings.NewReader(h.must("log", "show", "--json").out))
	for {
		var r record
		if err := dec.Decode(&r); err == io.EOF {
			return out
		} else if err != nil {
			h.Fatalf("log show --json: %v", err)
		}
		out = append(out, r)
	}
}

// refusedRecord reports whether the last run has a refusal of this operation
// whose host or path contains what.
func (h *host) refusedRecord(operation, what string) bool {
	h.Helper()
	for _, r := range h.records() {
		if r.Kind == "refused" && r.Action != nil && r.Action.Operation == operation &&
			(strings.Contains(r.Action.Host, what) || strings.Contains(r.Action.Path, what) || strings.Contains(r.Action.Subject, what)) && r.Decision != nil && len(r.Decision.Rules) > 0 {
			return true
		}
	}
	return false
}

// approveAndApply takes the newest change into the working tree.
func (h *host) approveAndApply(flags ...string) {
	h.Helper()
	h.must("review", "--stat", "--no-pager")
	h.must("approve", "--reason", "test")
	h.must(append([]string{"apply"}, flags...)...)
}

// expect fails unless the command went as it should.
func (h *host) expect(r result, code int, contains ...string) {
	h.Helper()
	if r.code != code {
		h.Errorf("exit code %d, want %d\n%s", r.code, code, r)
	}
	for _, want := range contains {
		if !strings.Contains(r.out+r.err, want) {
			h.Errorf("output lacks %q\n%s", want, r)
		}
	}
}

// meanwhile runs a script at a desk that says ready and reads a line, and does
// something in between.
func (h *host) meanwhile(script string, act func(), flags ...string) result {
	h.Helper()
	cmd := h.command(h.Context(), carrelBin, append(append([]string{"run"}, flags...), "--", "bash", "-c", script)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		h.Fatal(err)
	}
	return h.signalled(cmd, "ready", func() { act(); _ = in.Close() })
}

// signalled starts a command, waits until it has printed a word, does
// something to it, and returns how it ended.
func (h *host) signalled(cmd *exec.Cmd, word string, act func()) result {
	h.Helper()
	reader, writer := io.Pipe()
	var out bytes.Buffer
	cmd.Stdout = writer
	ready := make(chan bool)
	read := make(chan bool)
	go func() {
		defer close(read)
		b, told := make([]byte, 4096), false
		for {
			n, err := reader.Read(b)
			out.Write(b[:n])
			if !told && strings.Contains(out.String(), word) {
				told = true
				close(ready)
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		select {
		case <-ready:
			act()
		case <-time.After(longest / 2):
			_ = cmd.Process.Kill()
		}
	}()
	r := h.finish(cmd)
	_ = writer.Close()
	<-read
	r.out = out.String()
	return r
}
