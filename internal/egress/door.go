package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Config says for whom a door is and what stands behind it. Run, Agent and
// Rules come from the run; the rest is configuration of the host.
type Config struct {
	Run   carrel.RunID
	Agent string
	Rules *Rules // nil: nothing is reachable

	// Key returns the model endpoint's key for a use that g covers. again is
	// set after the endpoint refused the last one. Needed only where
	// Rules has a model endpoint that takes a key; nil adds none.
	Key func(ctx context.Context, g gate.Grant, a carrel.Action, again bool) (string, error)
	// KeyHeader is the header that carries the key; "Authorization" carries
	// it as a bearer token. "" means Authorization.
	KeyHeader string

	// Proxy is the host's own way out: http or https URL, with user and
	// password where the proxy asks for them; "" dials directly. NoProxy
	// lists what is dialled directly all the same, as NO_PROXY does.
	Proxy, NoProxy string
	// Roots are trusted by the model door and for https proxies; nil means
	// the system's.
	Roots *x509.CertPool

	// Resolve finds a name's addresses on the host; nil asks the system.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// OnBreach, if set, hears of connections that policy allowed and that
	// then did not keep to what was allowed: another server name, another
	// protocol, an address that is no public one. The gate's OnRefusal hears
	// of everything that policy refused. It must not block.
	OnBreach func(Breach)
}

// Breach is a connection that was ended because it was not what was allowed.
// It is also in the result record, under the facts rule and reason.
type Breach struct {
	Action carrel.Action
	Rule   string
	Reason string
	Next   []string
}

// Error implements error.
func (b *Breach) Error() string { return b.Reason }

// Sockets were created inside a desk's network namespace. The door takes them
// over and closes them, whatever Attach returns.
type Sockets struct {
	TCP       *os.File // listening stream socket on 127.0.0.1: captured connections
	DNS       *os.File // datagram socket on 127.0.0.1
	DNSTCP    *os.File // listening stream socket beside it
	Route     *os.File // NETLINK_ROUTE
	Netfilter *os.File // NETLINK_NETFILTER; nil where it cannot be had
	// Listen opens a further listening stream socket inside, until the
	// program starts.
	Listen func(addr string) (*os.File, error)
}

// maxConnections bounds the connections of one desk: each may hold two
// sockets and two pipes of the supervisor. Further ones wait.
const maxConnections = 1024

// Door is one desk's way out. Make it with New, attach it once, close it when
// the run has ended. Its methods are safe for concurrent use.
type Door struct {
	gate  *gate.Gate
	cfg   Config
	rules *Rules
	names *names
	local localAddresses
	dials dialer
	model *modelDoor // nil without an endpoint
	web   *web
	slots chan struct{}

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closers []func() error
	counts  map[string]int64
	state   []carrel.Enforcement
}

// New returns a door that asks g about everything. It opens nothing yet.
func New(g *gate.Gate, cfg Config) (*Door, error) {
	if g == nil {
		return nil, errors.New("egress: no gate")
	}
	dials, err := newDialer(cfg)
	if err != nil {
		return nil, err
	}
	d := &Door{gate: g, cfg: cfg, rules: cfg.Rules, names: newNames(), dials: dials,
		slots: make(chan struct{}, maxConnections), counts: make(map[string]int64)}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.web = newWeb(d)
	if _, _, _, ok := cfg.Rules.ModelEndpoint(); ok {
		d.model = newModelDoor(d)
	}
	return d, nil
}

// Attach captures the desk's network through the sockets that were created
// inside. When it returns nil the rules are in force and everything is
// answered; on an error the desk must not start. ctx bounds Attach only.
func (d *Door) Attach(ctx context.Context, s Sockets) error {
	defer closeFiles(s.TCP, s.DNS, s.DNSTCP, s.Route, s.Netfilter)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("attaching the desk's network: %w", err)
	}
	if s.TCP == nil || s.DNS == nil || s.DNSTCP == nil || s.Route == nil {
		return errors.New("attaching the desk's network: a socket is missing")
	}
	if err := d.attach(s); err != nil {
		d.Close()
		return fmt.Errorf("attaching the desk's network: %w", err)
	}
	return nil
}

func (d *Door) attach(s Sockets) error {
	capturing, err := net.FileListener(s.TCP)
	if err != nil {
		return fmt.Errorf("capture socket: %w", err)
	}
	d.onClose(capturing.Close)
	dnsConn, err := net.FilePacketConn(s.DNS)
	if err != nil {
		return fmt.Errorf("resolver socket: %w", err)
	}
	d.onClose(dnsConn.Close)
	dnsListener, err := net.FileListener(s.DNSTCP)
	if err != nil {
		return fmt.Errorf("resolver stream socket: %w", err)
	}
	d.onClose(dnsListener.Close)
	if err := d.route(s.Route); err != nil {
		return err
	}
	ports := capturePorts{portOf(capturing.Addr()), portOf(dnsConn.LocalAddr()), portOf(dnsListener.Addr()), d.rules.Ports()}
	if err := d.installRules(s, ports); err != nil {
		return err
	}
	d.run(d.web.run)
	d.serveNames(dnsConn, dnsListener)
	d.accept(capturing, originalDestination)
	return nil
}

func (d *Door) route(f *os.File) error {
	s, err := adoptNetlink(f)
	if err != nil {
		return err
	}
	return errors.Join(routeHome(s), s.close())
}

// installRules captures by netfilter, or port by port where that cannot be
// had, and remembers which it was.
func (d *Door) installRules(s Sockets, ports capturePorts) error {
	if s.Netfilter == nil {
		return d.capturePortByPort(s, "the desk has no netfilter socket")
	}
	nl, err := adoptNetlink(s.Netfilter)
	if err != nil {
		return err
	}
	told := capture(nl, ports, true) == nil
	if told {
		told = listenRefused(nl) == nil
	} else if err := capture(nl, ports, false); err != nil {
		return errors.Join(d.capturePortByPort(s, err.Error()), nl.close())
	}
	reading := make(chan struct{})
	d.onClose(func() error { return d.finishRefused(nl, reading) })
	d.enforce(carrel.ControlNames, carrel.Enforced, "DNS answers come from decisions alone", "")
	if !told {
		close(reading)
		d.enforce(carrel.ControlNetwork, carrel.Partly, "captured by nftables; refused ports and datagrams are not recorded", "load the kernel module nfnetlink_log")
		return nil
	}
	d.enforce(carrel.ControlNetwork, carrel.Enforced, "captured by nftables in the desk's own network namespace", "")
	d.run(func() {
		defer close(reading)
		readRefused(nl, d.recordRefused, func() { d.count("refused_gaps") })
	})
	return nil
}

// finishRefused stops hearing of refused packets and says how many were never
// told one by one.
func (d *Door) finishRefused(nl *netlinkSocket, reading <-chan struct{}) error {
	defer nl.close()
	if err := nl.f.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	<-reading
	all, err := countRefused(nl)
	if err != nil {
		d.count("refused_uncounted")
		return err
	}
	told := d.Counts()
	d.add("refused_untold", all-told["refused_tcp"]-told["refused_udp"]-told["refused_other"])
	return nil
}

// capturePortByPort listens on every port that a rule names, on all of the
// addresses that the local default route leads home. The kernel refuses all
// other ports itself, unseen.
func (d *Door) capturePortByPort(s Sockets, why string) error {
	for _, port := range d.rules.Ports() {
		if s.Listen == nil {
			return fmt.Errorf("no netfilter (%s) and no way to listen inside", why)
		}
		f, err := s.Listen(fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			return fmt.Errorf("listening inside on port %d: %w", port, err)
		}
		l, err := net.FileListener(f)
		closeFiles(f)
		if err != nil {
			return fmt.Errorf("listening inside on port %d: %w", port, err)
		}
		d.onClose(l.Close)
		d.accept(l, localDestination)
	}
	const fix = "use a kernel with nf_tables and its nat, redirect and reject expressions"
	d.enforce(carrel.ControlNetwork, carrel.Partly, "one listener per granted port; other ports are refused but not recorded ("+why+")", fix)
	d.enforce(carrel.ControlNames, carrel.Partly, "DNS answers come from decisions alone; resolvers other than the desk's are refused", fix)
	return nil
}

// closeTimeout bounds Close: what still runs then waits for the log or for
// people, and holds no connection any more.
const closeTimeout = 5 * time.Second

// Close ends every connection and closes everything the door opened. It
// returns when nothing of the door runs any more, or with an error after some
// seconds. It may be called twice.
func (d *Door) Close() error {
	d.stop()
	d.mu.Lock()
	closers := d.closers
	d.closers = nil
	d.mu.Unlock()
	for _, c := range closers {
		_ = c() // closing what is thrown away
	}
	d.web.close()
	d.model.close()
	ended := make(chan struct{})
	go func() { d.running.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(closeTimeout):
		return errors.New("egress: connections did not end in time")
	}
}

// Counts returns what was seen so far: connections, bytes, refusals, names,
// and what was lost on the way to the log.
func (d *Door) Counts() map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string]int64, len(d.counts))
	for k, v := range d.counts {
		out[k] = v
	}
	return out
}

// Enforcement says how the network is held, once Attach has returned nil.
func (d *Door) Enforcement() []carrel.Enforcement {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]carrel.Enforcement(nil), d.state...)
}

func (d *Door) enforce(c carrel.Control, l carrel.Level, how, fix string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = append(d.state, carrel.Enforcement{Control: c, Level: l, How: how, Fix: fix})
}

func (d *Door) count(what string) { d.add(what, 1) }

func (d *Door) add(what string, n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[what] += n
}

func (d *Door) onClose(f func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closers = append(d.closers, f)
}

// run starts f, which ends when the door's context or its descriptors do.
func (d *Door) run(f func()) { d.running.Go(f) }

func (d *Door) action(op carrel.Operation, host string, port int, p carrel.Protocol) carrel.Action {
	return carrel.Action{ID: carrel.NewActionID(), Run: d.cfg.Run, Agent: d.cfg.Agent, Operation: op, Host: host, Port: port, Protocol: p}
}

func (d *Door) serveNames(conn net.PacketConn, l net.Listener) {
	r := newResolver(d.ctx, d)
	d.run(func() { _ = r.serveUDP(conn) }) // ends with the socket
	d.run(func() { _ = r.serveTCP(netutil.LimitListener(l, maxQueries)) })
}

func portOf(a net.Addr) uint16 {
	switch a := a.(type) {
	case *net.TCPAddr:
		return uint16(a.Port)
	case *net.UDPAddr:
		return uint16(a.Port)
	}
	return 0
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
