package egress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/needs"
)

// The tests of this package run against a real network namespace: the test
// binary starts itself inside new namespaces, as the tier starts its own
// first process, and does there what it is told over a socket pair.

const insideEnv = "CARREL_EGRESS_TEST_INSIDE"

func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) != "" {
		inside()
		return
	}
	log.SetOutput(io.Discard) // test servers complain of clients that were refused
	os.Exit(m.Run())
}

// order is one thing to do inside; answer is what came of it.
type order struct {
	Do, Network, Addr string
	Argv              []string
	Resolv            string
}

type answerInside struct {
	Error  string
	Output string
	Code   int
}

// inside carries out orders until the socket is closed.
func inside() {
	conn, err := net.FileConn(os.NewFile(3, "orders"))
	if err != nil {
		panic(err)
	}
	u := conn.(*net.UnixConn)
	buf := make([]byte, 64<<10)
	for {
		n, err := u.Read(buf)
		if err != nil || n == 0 {
			os.Exit(0)
		}
		var o order
		if err := json.Unmarshal(buf[:n], &o); err != nil {
			panic(err)
		}
		a, files := carryOut(o)
		out, _ := json.Marshal(a)
		var rights []byte
		if len(files) > 0 {
			fds := make([]int, len(files))
			for i, f := range files {
				fds[i] = int(f.Fd())
			}
			rights = unix.UnixRights(fds...)
		}
		u.WriteMsgUnix(out, rights, nil)
		closeFiles(files...)
	}
}

func carryOut(o order) (a answerInside, files []*os.File) {
	var err error
	switch o.Do {
	case "sockets":
		files, err = openSockets(o.Resolv)
	case "listen":
		var l net.Listener
		if l, err = net.Listen("tcp4", o.Addr); err == nil {
			var f *os.File
			f, err = l.(*net.TCPListener).File()
			files = append(files, f)
			l.Close()
		}
	case "dial":
		var c net.Conn
		if c, err = net.DialTimeout(o.Network, o.Addr, 5*time.Second); err == nil {
			var f *os.File
			f, err = c.(interface{ File() (*os.File, error) }).File()
			files = append(files, f)
			c.Close()
		}
	case "exec":
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		var out []byte
		out, err = exec.CommandContext(ctx, o.Argv[0], o.Argv[1:]...).CombinedOutput()
		a.Output = string(out[:min(len(out), 32<<10)])
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			a.Code, err = exit.ExitCode(), nil
		}
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a, files
}

// openSockets does what the first process of a desk does before it hands its
// sockets out.
func openSockets(resolv string) ([]*os.File, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount(resolv, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("resolv.conf: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return nil, fmt.Errorf("lo: %w", err)
	}
	tcp, err1 := net.Listen("tcp4", "127.0.0.1:0")
	dns, err2 := net.ListenPacket("udp4", "127.0.0.1:53")
	dnsTCP, err3 := net.Listen("tcp4", "127.0.0.1:53")
	route, err4 := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	filter, err5 := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	f1, _ := tcp.(*net.TCPListener).File()
	f2, _ := dns.(*net.UDPConn).File()
	f3, _ := dnsTCP.(*net.TCPListener).File()
	tcp.Close()
	dns.Close()
	dnsTCP.Close()
	return []*os.File{f1, f2, f3, os.NewFile(uintptr(route), "route"), os.NewFile(uintptr(filter), "netfilter")}, nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// namespace is a set of new namespaces with a process of ours inside.
type namespace struct {
	t     testing.TB
	mu    sync.Mutex
	conn  *net.UnixConn
	order *exec.Cmd
}

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer closeFiles(ours, theirs)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), insideEnv+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		needs.Missing(t, "user and network namespaces", err)
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	n := &namespace{t: t, conn: conn.(*net.UnixConn), order: cmd}
	t.Cleanup(func() {
		n.conn.Close()
		cmd.Wait()
	})
	return n
}

func (n *namespace) do(o order) (answerInside, []*os.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b, err := json.Marshal(o)
	if err != nil {
		return answerInside{}, nil, err
	}
	if _, err := n.conn.Write(b); err != nil {
		return answerInside{}, nil, err
	}
	buf, oob := make([]byte, 64<<10), make([]byte, 1024)
	size, oobSize, _, _, err := n.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return answerInside{}, nil, err
	}
	var a answerInside
	if err := json.Unmarshal(buf[:size], &a); err != nil {
		return a, nil, err
	}
	var files []*os.File
	messages, _ := unix.ParseSocketControlMessage(oob[:oobSize])
	for _, m := range messages {
		fds, _ := unix.ParseUnixRights(&m)
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "inside"))
		}
	}
	if a.Error != "" {
		return a, files, errors.New(a.Error)
	}
	return a, files, nil
}

// sockets opens what a desk hands out.
func (n *namespace) sockets() Sockets {
	n.t.Helper()
	dir := n.t.TempDir()
	resolv := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n"), 0o644); err != nil {
		n.t.Fatal(err)
	}
	_, f, err := n.do(order{Do: "sockets", Resolv: resolv})
	if err != nil || len(f) != 5 {
		n.t.Fatalf("opening sockets inside: %d files, %v", len(f), err)
	}
	return Sockets{TCP: f[0], DNS: f[1], DNSTCP: f[2], Route: f[3], Netfilter: f[4], Listen: n.listen}
}

func (n *namespace) listen(addr string) (*os.File, error) {
	_, f, err := n.do(order{Do: "listen", Addr: addr})
	if err != nil {
		return nil, err
	}
	return f[0], nil
}

// dial connects from inside and returns the connection.
func (n *namespace) dial(network, addr string) (net.Conn, error) {
	_, f, err := n.do(order{Do: "dial", Network: network, Addr: addr})
	if err != nil {
		return nil, err
	}
	defer closeFiles(f...)
	return net.FileConn(f[0])
}

// exec runs a program inside.
func (n *namespace) exec(argv ...string) (string, int) {
	n.t.Helper()
	a, _, err := n.do(order{Do: "exec", Argv: argv})
	if err != nil {
		n.t.Fatalf("running %s inside: %v", argv, err)
	}
	return a.Output, a.Code
}

// testDesk is a namespace with a door attached.
type testDesk struct {
	*namespace
	door *Door
	log  *gatetest.Log

	mu       sync.Mutex
	breaches []Breach
	dialled  []netip.AddrPort
}

// setup says what a desk of a test may reach and what is outside.
type setup struct {
	grants    Grants
	cfg       Config
	addresses map[string][]string                     // what the host's resolver answers
	resolve   func(host string) ([]netip.Addr, error) // instead of addresses; may be nil
	dial      map[string]string                       // where a public address leads instead: no test leaves the machine
	netfilter func(*Sockets)                          // to take it away
	decide    func(carrel.Action) carrel.Decision     // nil: the grants alone
	record    func(carrel.Record) error               // fails what the log should fail; may be nil
	forget    bool                                    // the log keeps nothing
}

func newDesk(t testing.TB, s setup) *testDesk {
	t.Helper()
	d := &testDesk{namespace: newNamespace(t), log: &gatetest.Log{}}
	d.open(t, s)
	return d
}

// open makes the desk's door and attaches it.
func (d *testDesk) open(t testing.TB, s setup) {
	t.Helper()
	d.log.Fail, d.log.Forget = s.record, s.forget
	rules, err := NewRules(s.grants)
	if err != nil {
		t.Fatal(err)
	}
	decide := rules.Decide
	if s.decide != nil {
		decide = s.decide
	}
	g := gate.New(gatetest.Decide(decide), gatetest.Nobody{}, d.log)
	cfg := s.cfg
	cfg.Run, cfg.Agent, cfg.Rules = carrel.NewRunID(), "test", rules
	cfg.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		if s.resolve != nil {
			return s.resolve(host)
		}
		return resolveTest(s.addresses, host)
	}
	cfg.OnBreach = func(b Breach) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.breaches = append(d.breaches, b)
	}
	if d.door, err = New(g, cfg); err != nil {
		t.Fatal(err)
	}
	d.door.dials.dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		d.mu.Lock()
		d.dialled = append(d.dialled, to)
		d.mu.Unlock()
		return dialTest(ctx, s.dial, to)
	}
	sockets := d.sockets()
	if s.netfilter != nil {
		s.netfilter(&sockets)
	}
	if err := d.door.Attach(context.Background(), sockets); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.door.Close() })
}

func resolveTest(addresses map[string][]string, host string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range addresses[host] {
		out = append(out, netip.MustParseAddr(s))
	}
	if out == nil {
		return nil, fmt.Errorf("the test knows no %s", host)
	}
	return out, nil
}

// dialTest leads an address to where the test says, or to the same port of
// loopback if it is loopback anyway.
func dialTest(ctx context.Context, where map[string]string, to netip.AddrPort) (net.Conn, error) {
	target, ok := where[to.String()]
	if !ok && to.Addr().IsLoopback() {
		target = to.String()
	}
	if target == "" {
		return nil, fmt.Errorf("the test leads %s nowhere", to)
	}
	return dialTCP(ctx, netip.MustParseAddrPort(target))
}

// resolver looks names up as a program inside does.
func (d *testDesk) resolver(server string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
		return d.dial(network[:3], server)
	}}
}

// lookup returns the one address of host inside.
func (d *testDesk) lookup(host string) (string, error) {
	addrs, err := d.resolver("127.0.0.1:53").LookupNetIP(context.Background(), "ip4", host+".")
	if err != nil {
		return "", err
	}
	return addrs[0].String(), nil
}

// connect resolves and connects from inside.
func (d *testDesk) connect(host, port string) net.Conn {
	d.t.Helper()
	addr, err := d.lookup(host)
	if err != nil {
		d.t.Fatalf("resolving %s inside: %v", host, err)
	}
	c, err := d.dial("tcp", net.JoinHostPort(addr, port))
	if err != nil {
		d.t.Fatalf("connecting to %s:%s inside: %v", host, port, err)
	}
	d.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// exchange connects to a name inside, says a line and returns the answer.
// The error is that of whatever was refused first: the connection may be
// reset before connect has even returned.
func (d *testDesk) exchange(host, port, line string) (string, error) {
	d.t.Helper()
	addr, err := d.lookup(host)
	if err != nil {
		d.t.Fatalf("resolving %s inside: %v", host, err)
	}
	return d.exchangeAddr(net.JoinHostPort(addr, port), line)
}

// exchangeAddr is exchange without a name.
func (d *testDesk) exchangeAddr(addr, line string) (string, error) {
	d.t.Helper()
	c, err := d.dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return say(d.t, c, line)
}

// client is an HTTP client inside.
func (d *testDesk) client() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if _, err := netip.ParseAddr(host); err != nil {
			if host, err = d.lookup(host); err != nil {
				return nil, err
			}
		}
		return d.dial("tcp", net.JoinHostPort(host, port))
	}}
	d.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// dialledTo returns what the door has dialled so far.
func (d *testDesk) dialledTo() []netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.dialled)
}

// lastBreach returns the newest breach that was reported.
func (d *testDesk) lastBreach() Breach {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.breaches) == 0 {
		return Breach{}
	}
	return d.breaches[len(d.breaches)-1]
}

// eventually waits for what happens on another goroutine.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("%s: not within 5 s", what)
}

// wantRefused waits for a refusal record of op for host by rule.
func (d *testDesk) wantRefused(op carrel.Operation, host, rule string) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("a record that %s %s was refused by %s", op, host, rule), func() bool {
		for _, r := range d.log.Records() {
			if r.Kind == carrel.KindRefused && r.Action.Operation == op && r.Action.Host == host && strings.HasPrefix(r.Decision.Rules[0], rule) {
				return true
			}
		}
		return false
	})
}

// wantBreach waits for a result record that says rule.
func (d *testDesk) wantBreach(rule string) {
	d.t.Helper()
	eventually(d.t, "a record of the breach "+rule, func() bool {
		for _, r := range d.log.Records() {
			if r.Kind == carrel.KindResult && r.Outcome.Status == carrel.OutcomeFailed && r.Outcome.Facts["rule"] == carrel.Text(rule) {
				return true
			}
		}
		return false
	})
}
