package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/blob"
)

// The tests work at a real desk: the test binary starts itself again in new
// namespaces, mounts the overlay there as a tier would, and runs a script.

const insideFlag = "-carrel-inside"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == insideFlag {
		if err := inside(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(125)
		}
	}
	os.Exit(m.Run())
}

// inside mounts the layers and becomes the script.
func inside(layers, script string) error {
	var all []Layer
	if err := json.Unmarshal([]byte(layers), &all); err != nil {
		return err
	}
	at := all[0].Copy
	if at == "" {
		at = filepath.Join(filepath.Dir(all[0].Upper), "merged")
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
	}
	if len(all) > 1 || all[0].Copy == "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("making mounts private: %w", err)
		}
	}
	for i := range all {
		if err := show(&all[i], filepath.Join(at, all[i].Rel)); err != nil {
			return fmt.Errorf("mounting %s: %w", all[i].Name, err)
		}
	}
	if err := os.Chdir(at); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("dropping privileges: %w", err)
	}
	if to, ok := strings.CutPrefix(script, "!swap "); ok {
		return swapForEver(to)
	}
	return unix.Exec("/bin/sh", []string{"sh", "-euc", script}, []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "REAL=" + all[0].Lower})
}

func show(l *Layer, at string) error {
	if l.Copy == at {
		return nil
	}
	if l.Copy != "" {
		return unix.Mount(l.Copy, at, "", unix.MS_BIND, "")
	}
	options := "userxattr"
	if os.Getuid() == 0 {
		options = "redirect_dir=on"
	}
	options += fmt.Sprintf(",lowerdir=%s,upperdir=%s,workdir=%s", l.Lower, l.Upper, l.Work)
	return unix.Mount("overlay", at, "overlay", 0, options)
}

// agent runs a script at the seat's workspace and fails the test if it fails.
func agent(t *testing.T, s *Seat, script string) {
	t.Helper()
	l, err := json.Marshal(s.workspaceLayers())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", insideFlag, string(l), script)
	cmd.SysProcAttr = atDesk(s)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("the agent's script: %v\n%s", err, out.String())
	}
}

// atDesk is how a process is started at the desk's layers.
func atDesk(s *Seat) *syscall.SysProcAttr {
	if l := s.workspaceLayers(); len(l) == 1 && l[0].Copy != "" {
		return nil
	}
	if os.Getuid() == 0 {
		return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_CHOWN, unix.CAP_FSETID},
	}
}

// tempDir is t.TempDir on a real file system, cleaned as hostile trees need.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "carrel-ws-")
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeTree(dir); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return dir
}

// site is a workspace with its state.
type site struct {
	t     *testing.T
	root  string
	state string
	ws    *Workspace
	kind  Staging
}

// eachStaging runs a test once with overlay and once with copy staging.
func eachStaging(t *testing.T, test func(t *testing.T, s *site)) {
	for _, kind := range []Staging{StagingOverlay, StagingCopy} {
		t.Run(string(kind), func(t *testing.T) { test(t, newSite(t, kind)) })
	}
}

func newSite(t *testing.T, kind Staging) *site {
	t.Helper()
	s := &site{t: t, root: filepath.Join(tempDir(t), "project"), state: tempDir(t), kind: kind}
	if err := os.MkdirAll(s.root, 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) write(rel, content string) {
	s.t.Helper()
	p := filepath.Join(s.root, rel)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) read(rel string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.root, rel))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *site) sh(script string) {
	s.t.Helper()
	cmd := exec.Command("/bin/sh", "-euc", script)
	cmd.Dir = s.root
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

func (s *site) open() *Workspace { return s.openB(s.t) }

func (s *site) openB(t testing.TB) *Workspace {
	t.Helper()
	if s.ws != nil {
		return s.ws
	}
	blobs, err := blob.Open(filepath.Join(s.state, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	s.ws, err = Open(context.Background(), s.root, Options{State: s.state, Home: "/home/somebody", Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	return s.ws
}

func (s *site) take(opts SeatOptions) *Seat {
	s.t.Helper()
	if opts.Agent == "" {
		opts.Agent = "tester"
	}
	if opts.Staging == "" {
		opts.Staging = s.kind
	}
	seat, err := s.open().Take(context.Background(), opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { seat.Close() })
	return seat
}

func allowAll(context.Context, carrel.Action) carrel.Decision {
	return carrel.Decision{Verdict: carrel.Allow}
}

func capture(t *testing.T, seat *Seat) *carrel.Change {
	t.Helper()
	return captureWith(t, seat, CaptureOptions{Decide: allowAll})
}

func captureWith(t *testing.T, seat *Seat, opts CaptureOptions) *carrel.Change {
	t.Helper()
	c, err := seat.Capture(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run is one whole run: take, work, capture.
func (s *site) run(script string) (*Seat, *carrel.Change) {
	s.t.Helper()
	seat := s.take(SeatOptions{})
	agent(s.t, seat, script)
	return seat, capture(s.t, seat)
}

// describe renders files as "change path" lines, for comparison.
func describe(files []carrel.FileChange) string {
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "%s %s %s\n", f.Change, f.Kind, f.Path)
	}
	return b.String()
}

func expect(t *testing.T, files []carrel.FileChange, lines ...string) {
	t.Helper()
	want := ""
	for _, l := range lines {
		want += l + "\n"
	}
	if got := describe(files); got != want {
		t.Errorf("files:\n%swant:\n%s", got, want)
	}
}

func fileOf(t *testing.T, files []carrel.FileChange, path string) carrel.FileChange {
	t.Helper()
	for _, f := range files {
		if string(f.Path) == path {
			return f
		}
	}
	t.Fatalf("no %s among:\n%s", path, describe(files))
	return carrel.FileChange{}
}

func hasLabel(f carrel.FileChange, name string) bool {
	for _, l := range f.Labels {
		if l.Name == name {
			return true
		}
	}
	return false
}
