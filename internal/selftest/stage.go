//go:build linux

package selftest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/carrel-dev/carrel/internal/sandbox/attack"
)

// Stage is what the attacks are let loose on, all of it made for them in one
// directory: a home with canaries, a workspace, and servers on the host's
// loopback that count who comes.
type Stage struct {
	Home      string // of an invented user; Carrel's state is in it too
	Workspace string // host path
	ReadOnly  string // file to show read-only
	Program   string // this program, to be run at the desk
	Service   string // NAME=ADDRESS of the server that the desk is given

	dir    string
	canary string
	told   attack.Stage
	open   []io.Closer
	serve  sync.WaitGroup
	wanted atomic.Int64 // connections to the server that was given
	others atomic.Int64 // what came to any other
}

// Names of the stage.
const (
	serviceName = "given"
	allowedName = "allowed.test"
	hiddenName  = ".env"
	stageName   = "stage.json"
)

// Pids is the limit of processes that the desk must have.
const Pids = 160

// newStage makes a stage. The caller closes it.
func newStage(o Options) (_ *Stage, err error) {
	dir, err := os.MkdirTemp("", "carrel-selftest-")
	if err != nil {
		return nil, fmt.Errorf("making the stage: %w", err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	s := &Stage{dir: dir, canary: "canary-" + rand.Text(), Home: at("home"), Workspace: at("work"), ReadOnly: at("shown.txt"), Program: at("carrel")}
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("making the stage: %w", err)
		}
	}()
	inside := o.Inside
	if inside == "" {
		inside = s.Workspace
	}
	if err := s.files(o.Self); err != nil {
		return nil, err
	}
	s.told = attack.Stage{
		Canary: s.canary, Home: s.Home, State: filepath.Join(s.Home, ".local/state/carrel"), Outside: dir, Workspace: inside, OwnHome: o.Home, ReadOnly: s.ReadOnly,
		Hidden: hiddenName, Link: "link", Supervisor: process(os.Getpid()), Bystander: process(os.Getppid()), Outward: outward(),
		Notices: o.Notices, Mark: fmt.Sprintf("97.%09d", os.Getpid()), Pids: Pids,
	}
	if s.told.Bystander.PID == 0 { // started from outside of this pid namespace
		s.told.Bystander = s.told.Supervisor
	}
	if err := s.servers(o.Door); err != nil {
		return nil, err
	}
	b, err := json.Marshal(s.told)
	if err != nil {
		return nil, err
	}
	return s, os.WriteFile(filepath.Join(s.Workspace, stageName), b, 0o644)
}

func process(pid int) attack.Process { return attack.Process{PID: pid, Started: attack.StartOf(pid)} }

// files writes the home, the workspace and what lies beside it.
func (s *Stage) files(self string) error {
	for name, text := range s.texts() {
		path := filepath.Join(s.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Chmod(s.ReadOnly, 0o644), os.Symlink(filepath.Join(s.dir, "canary"), filepath.Join(s.Workspace, "link"))); err != nil {
		return err
	}
	return copyProgram(s.Program, self)
}

// texts are the files that the host has, and must have afterwards.
func (s *Stage) texts() map[string]string {
	texts := map[string]string{"canary": s.canary, "shown.txt": "shown\n", "work/README.md": "The stage of a self-test.\n", "work/" + hiddenName: s.canary}
	for _, name := range attack.Secrets {
		texts["home/"+name] = s.canary
	}
	return texts
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// servers opens the host's servers: one that the desk is given, and others.
func (s *Stage) servers(door bool) error {
	given, err := s.listen("tcp", "127.0.0.1:0", &s.wanted)
	if err != nil {
		return err
	}
	if door {
		_, port, _ := net.SplitHostPort(given)
		s.Service, s.told.Service, s.told.Allowed = serviceName+"="+given, serviceName+".desk:"+port, allowedName
	}
	if s.told.TCP, err = s.listen("tcp", ":0", &s.others); err != nil {
		return err
	}
	s.told.Abstract = s.canary
	if _, err = s.listen("unix", "@"+s.canary, &s.others); err != nil {
		return err
	}
	s.told.Socket = filepath.Join(s.dir, "socket")
	if _, err = s.listen("unix", s.told.Socket, &s.others); err != nil {
		return err
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.open, s.told.UDP = append(s.open, c), c.LocalAddr().String()
	s.serve.Go(func() {
		b := make([]byte, 512)
		for {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			s.others.Add(1)
			_, _ = c.WriteTo([]byte(s.canary), from)
		}
	})
	return nil
}

// listen answers every connection with the canary, and counts them.
func (s *Stage) listen(network, address string, count *atomic.Int64) (string, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return "", err
	}
	s.open = append(s.open, l)
	s.serve.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			_, _ = fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(s.canary), s.canary)
			c.Close()
		}
	})
	return l.Addr().String(), nil
}

// outward is an address of this machine that is not loopback, or "".
func outward() string {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return ""
}

// close takes the stage down.
func (s *Stage) close() {
	for _, c := range s.open {
		c.Close()
	}
	s.serve.Wait()
	_ = filepath.WalkDir(s.dir, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) // the desk may have left it without
		}
		return nil
	})
	_ = os.RemoveAll(s.dir)
}
