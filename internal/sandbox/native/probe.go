package native

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// controls in the order in which they are shown.
var controls = []carrel.Control{
	carrel.ControlFiles, carrel.ControlStaging, carrel.ControlProcesses, carrel.ControlPrivilege, carrel.ControlSyscalls,
	carrel.ControlLandlock, carrel.ControlNetwork, carrel.ControlNames, carrel.ControlStreams, carrel.ControlLifetime,
	carrel.ControlMemory, carrel.ControlPids, carrel.ControlDisk, carrel.ControlExec,
}

// Probe implements sandbox.Tier: it builds a small desk, with everything on,
// and looks at its walls from inside.
func (t *Tier) Probe(ctx context.Context) []carrel.Enforcement {
	dir, err := os.MkdirTemp(t.options.InstallDir, "probe-")
	if errors.Is(err, os.ErrNotExist) {
		dir, err = os.MkdirTemp("", "carrel-probe-")
	}
	if err != nil {
		return nothing(err)
	}
	defer os.RemoveAll(dir)
	staging := OverlayWorks(dir, dir)
	net := &network{}
	found, d, err := t.lookInside(ctx, dir, staging == nil, net)
	if err != nil {
		return nothing(err)
	}
	byControl := map[carrel.Control]carrel.Enforcement{}
	for _, e := range append(d.inForce(), net.levels()...) {
		byControl[e.Control] = e
	}
	if staging != nil {
		byControl[carrel.ControlStaging] = carrel.Enforcement{Control: carrel.ControlStaging, Level: carrel.Partly,
			How: "workspaces are copied: " + staging.Error(), Fix: "keep Carrel's state on ext4, xfs or btrfs"}
	}
	for c, what := range found {
		byControl[c] = carrel.Enforcement{Control: c, Level: carrel.NotEnforced, How: "from inside: " + what, Fix: "report this: the walls do not hold on this machine"}
	}
	out := make([]carrel.Enforcement, 0, len(controls))
	for _, c := range controls {
		out = append(out, byControl[c])
	}
	return out
}

// nothing is the answer where no desk can be built.
func nothing(err error) (out []carrel.Enforcement) {
	fix := ""
	var s *sandbox.StartError
	if errors.As(err, &s) {
		fix = s.Fix
	}
	for _, c := range controls {
		out = append(out, carrel.Enforcement{Control: c, Level: carrel.NotEnforced, How: err.Error(), Fix: fix})
	}
	return out
}

// lookInside runs a desk whose program tries its walls. It returns what that
// could do, by the control that should have stopped it.
func (t *Tier) lookInside(ctx context.Context, dir string, overlay bool, net *network) (map[carrel.Control]string, *Desk, error) {
	s, err := t.probeSpec(dir, overlay)
	if err != nil {
		return nil, nil, err
	}
	s.Attach = net.attach
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	s.Stdout = w
	d, err := t.start(ctx, s)
	if err != nil {
		w.Close()
		return nil, nil, err
	}
	said := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r, 1<<16))
		said <- b
	}()
	_, err = d.Wait()
	w.Close()
	if err != nil {
		return nil, nil, err
	}
	found, err := parseFindings(<-said)
	return found, d, err
}

func parseFindings(said []byte) (map[carrel.Control]string, error) {
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	if lines[len(lines)-1] != "looked" {
		return nil, refusal("the probe inside ended early: %q", said)
	}
	found := map[carrel.Control]string{}
	for _, line := range lines[:len(lines)-1] {
		name, what, _ := strings.Cut(line, ": ")
		found[carrel.Control(name)] = what
	}
	return found, nil
}

func (t *Tier) probeSpec(dir string, overlay bool) (sandbox.Spec, error) {
	mounts, err := t.probeProgram()
	if err != nil {
		return sandbox.Spec{}, err
	}
	for _, sub := range []string{"tree", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return sandbox.Spec{}, err
		}
	}
	at := func(sub string) string { return filepath.Join(dir, sub) }
	if overlay {
		mounts = append(mounts, sandbox.Mount{Kind: sandbox.MountOverlay, Target: "/workspace", Lower: at("tree"), Upper: at("upper"), Work: at("work"), Adopt: true})
	} else {
		mounts = append(mounts, sandbox.Mount{Kind: sandbox.MountTmpfs, Target: "/workspace"})
	}
	return sandbox.Spec{
		Run: carrel.NewRunID(), Mounts: mounts, Program: probeTarget, Args: []string{desk.Name, desk.Look}, Dir: "/workspace",
		DiskPaths: []string{dir}, Limits: sandbox.Limits{Memory: 1 << 30, BestEffort: true},
		Executed: func(context.Context, sandbox.Execution) error { return nil },
	}, nil
}

const probeTarget = "/carrel-init"

// probeProgram shows this program to a desk: by its content if it is small,
// else as the file and, since it may be dynamic, with the system's libraries.
func (t *Tier) probeProgram() ([]sandbox.Mount, error) {
	if b, err := initbin.ReadFile("initbin/" + desk.Name); err == nil {
		return []sandbox.Mount{{Kind: sandbox.MountFile, Target: probeTarget, Content: b, Mode: 0o555}}, nil
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	mounts := []sandbox.Mount{{Kind: sandbox.MountBind, Target: probeTarget, Source: self}}
	for _, dir := range []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"} {
		mounts = append(mounts, sandbox.Mount{Kind: sandbox.MountBind, Target: dir, Source: dir, Optional: true})
	}
	return mounts, nil
}

// network tries the sockets of a desk.
type network struct {
	handed    bool
	netfilter error
}

func (n *network) attach(_ context.Context, s sandbox.Sockets) error {
	n.handed = s.TCP != nil && s.DNS != nil && s.DNSTCP != nil && s.Route != nil
	n.netfilter = errors.New("the kernel has no netfilter")
	if s.Netfilter != nil {
		n.netfilter = tryNFTables(s.Netfilter)
	}
	for _, f := range []*os.File{s.TCP, s.DNS, s.DNSTCP, s.Route, s.Netfilter} {
		if f != nil {
			f.Close()
		}
	}
	return nil
}

func (n *network) levels() []carrel.Enforcement {
	out := []carrel.Enforcement{
		enforced(carrel.ControlNetwork, "a network namespace with only a loopback; nf_tables leads connections to Carrel"),
		enforced(carrel.ControlNames, "the only resolver is Carrel's"),
	}
	if !n.handed {
		out[1].Level, out[1].How = carrel.NotEnforced, "the desk's sockets could not be opened"
	}
	if n.netfilter != nil {
		out[0].Level, out[0].How = carrel.Partly, "without nf_tables ("+n.netfilter.Error()+") unnamed ports are refused but not recorded"
		out[0].Fix = "sudo modprobe nf_tables, or use a kernel that has it"
	}
	return out
}

// tryNFTables asks for the generation of the rules, which only nf_tables
// answers.
func tryNFTables(f *os.File) error {
	fd := int(f.Fd()) // blocking from here on
	msg := []byte{20, 0, 0, 0, unix.NFT_MSG_GETGEN, unix.NFNL_SUBSYS_NFTABLES, unix.NLM_F_REQUEST, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	if n < 20 || bytes.Equal(buf[4:6], []byte{unix.NLMSG_ERROR, 0}) {
		return errors.New("nf_tables does not answer")
	}
	return nil
}
