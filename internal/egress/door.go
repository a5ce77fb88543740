package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

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
	// Conceal takes the key out of the endpoint's answers, as they stream; nil
	// looks at their headers alone.
	Conceal func(res *http.Response, key string)

	// Tools answers what the agent's client asks at ToolHost, where the Rules
	// say that it does. It decides each call itself.
	Tools http.Handler

	// Upload bounds the bytes that the run may send in all; 0 does not.
	Upload int64

	// Authority signs for the destinations that are inspected; without one
	// they are refused.
	Authority *Authority
	// Secrets puts credentials in on the way out and takes them out on the way
	// in, for requests that the door inspects; nil has none.
	Secrets Secrets

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
	// were then not carried: another server name, another protocol, an
	// address that is no public one, or no way there from this host. The
	// gate's OnRefusal hears of everything that policy refused. It must not
	// block, and be safe for concurrent use.
	OnBreach func(Breach)
}

// Breach is a connection that was ended because it was not what was allowed,
// or led nowhere. It is also in the result record, under the facts rule and
// reason.
type Breach struct {
	Action carrel.Action
	Rule   string
	Reason string
	Next   []string
	cause  error // for the record; may be nil
}

// Error implements error.
func (b *Breach) Error() string {
	if b.cause != nil {
		return b.cause.Error()
	}
	return b.Reason
}

const (
	// maxConnections bounds the connections of one desk. Further ones are
	// refused at once: they would wait for as long as the agent keeps the others.
	maxConnections = 8192
	// connectionFiles is what one connection holds of the supervisor's
	// descriptors: two sockets, and for the few that move bulk a pipe's two ends
	// each way.
	connectionFiles = 3
	// maxSessions bounds the TLS sessions with origins that are remembered.
	maxSessions = 256
	// otherFiles are left to everything else.
	otherFiles = 256
)

// slotsOf is how many connections the supervisor's descriptors are enough for.
func slotsOf() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < otherFiles+64*connectionFiles {
		return 64
	}
	return int(min((limit.Cur-otherFiles)/connectionFiles, maxConnections))
}

// Door is one desk's way out. Make it with New, attach it once, close it when
// the run has ended. Its methods are safe for concurrent use.
type Door struct {
	gate    *gate.Gate
	cfg     Config
	granted atomic.Pointer[Rules]
	changes atomic.Uint64 // of granted, or of what the gate decides by
	names   *names
	local   localAddresses
	dials   dialer
	model   *modelDoor // nil without an endpoint
	web     *web
	slots   chan struct{}
	sent    budgets
	memory  memory
	// sessions with origins are resumed by later connections of this run.
	sessions tls.ClientSessionCache

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	live    map[*live]struct{}
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
	d := &Door{gate: g, cfg: cfg, names: newNames(), dials: dials, live: make(map[*live]struct{}),
		sessions: tls.NewLRUClientSessionCache(maxSessions), slots: make(chan struct{}, slotsOf()), counts: make(map[string]int64)}
	d.granted.Store(cfg.Rules)
	d.memory.most = maxLive
	d.sent.run, d.sent.sent = cfg.Upload, make(map[string]int64)
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.web = newWeb(d)
	if _, _, _, ok := cfg.Rules.ModelEndpoint(); ok {
		d.model = newModelDoor(d)
	}
	return d, nil
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
