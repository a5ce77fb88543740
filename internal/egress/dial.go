package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

const (
	// dialTimeout is for resolving, dialling and the proxy's answer together.
	dialTimeout = 20 * time.Second
	// maxAddresses bounds how many addresses of one name are tried.
	maxAddresses = 4
)

// dialer opens connections of the host.
type dialer struct {
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	dial    func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	proxy   *upstream // nil: directly
}

func newDialer(cfg Config) (dialer, error) {
	proxy, err := newUpstream(cfg)
	if err != nil {
		return dialer{}, err
	}
	d := dialer{resolve: cfg.Resolve, dial: dialTCP, proxy: proxy}
	if d.resolve == nil {
		d.resolve = resolveSystem
	}
	return d, nil
}

// resolveSystem asks for the absolute name: the host's search domains must
// not make another name of it.
func resolveSystem(ctx context.Context, host string) ([]netip.Addr, error) {
	if host != "localhost" {
		host += "."
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", to.String())
}

// reach is where a connection leads: a host, and the addresses that are
// meant by it beyond the public ones.
type reach struct {
	host  string
	port  int
	named []netip.Prefix
	// chosen is set where the user wrote this very destination into the
	// host's configuration: then only metadata addresses are refused.
	chosen bool
	direct bool // never through the host's proxy
}

// reachOf returns where the action a leads: for a service of the host and for
// the model door, what stands behind the name.
func (d *Door) reachOf(a carrel.Action) reach {
	if s, ok := d.rules().service(a.Host); ok {
		return reach{host: s.Host, port: s.Port, chosen: true, direct: true}
	}
	if d.model != nil && a.Service == d.model.behind.Service {
		return reach{host: a.Host, port: a.Port, chosen: true}
	}
	c, _ := d.rules().match(a.Host, a.Port)
	return reach{host: a.Host, port: a.Port, named: c.addresses}
}

// connect opens the connection that a says, which g must cover. The name is
// resolved once; what is dialled is the second value, an address that was
// checked, or invalid where the host's proxy chooses it.
func (d *Door) connect(ctx context.Context, g gate.Grant, a carrel.Action) (net.Conn, netip.Addr, error) {
	if err := g.Covers(a); err != nil {
		return nil, netip.Addr{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	to := d.reachOf(a)
	if d.dials.proxy.serves(to) {
		conn, err := d.connectVia(ctx, a, to)
		return conn, netip.Addr{}, err
	}
	addrs, err := d.lookup(ctx, to.host)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	good, bad := d.sift(addrs, to)
	if len(good) == 0 {
		return nil, netip.Addr{}, &Breach{Action: a, Rule: "egress/address", Reason: fmt.Sprintf("%s leads to no address that may be dialled: %v", to.host, bad), Next: nameAddress(to, addrs)}
	}
	return d.dialAny(ctx, good, to.port)
}

// connectAnew is connect as an action of its own, for a connection that is
// kept beyond the request that needed it.
func (d *Door) connectAnew(ctx context.Context, a carrel.Action) (conn net.Conn, err error) {
	a.ID = carrel.NewActionID()
	since := d.changes.Load()
	_, err = d.gate.Do(ctx, a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		raw, addr, err := d.connect(ctx, g, a)
		if err != nil {
			return d.breach(a, err)
		}
		conn = d.keepConn(raw, a, addr, since)
		return carrel.Outcome{Facts: map[string]carrel.Text{"address": carrel.Text(conn.RemoteAddr().String())}}, nil
	})
	if err != nil && conn != nil { // connected, and not recorded
		conn.Close()
		conn = nil
	}
	return conn, err
}

func (d *Door) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	addrs, err := d.dials.resolve(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolving %s on the host: %w", host, err)
	}
	return addrs, nil
}

// sift keeps the addresses that may be dialled, IPv4 first, and says why not
// the others.
func (d *Door) sift(addrs []netip.Addr, to reach) (good []netip.Addr, bad error) {
	for _, addr := range addrs {
		addr = addr.Unmap()
		err := checkAddress(addr, to.named, d.local.contains)
		if to.chosen {
			err = checkAddress(addr, []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}, d.local.contains)
		}
		if err != nil {
			bad = errors.Join(bad, err)
			continue
		}
		good = append(good, addr)
	}
	slices.SortStableFunc(good, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return good[:min(len(good), maxAddresses)], bad
}

func (d *Door) dialAny(ctx context.Context, addrs []netip.Addr, port int) (net.Conn, netip.Addr, error) {
	var failed error
	for _, addr := range addrs {
		one, cancel := context.WithTimeout(ctx, dialTimeout/time.Duration(len(addrs))) // a dead address leaves time for the next
		conn, err := d.dials.dial(one, netip.AddrPortFrom(addr, uint16(port)))
		cancel()
		if err == nil {
			return conn, addr, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, netip.Addr{}, failed
}

// leadsTo reports whether a may still lead to an address that was dialled for
// it; an invalid one is the proxy's choice.
func (d *Door) leadsTo(a carrel.Action, addr netip.Addr) bool {
	if !addr.IsValid() {
		return true
	}
	good, _ := d.sift([]netip.Addr{addr}, d.reachOf(a))
	return len(good) > 0
}

// connectVia asks the host's proxy for the connection. A literal address is
// checked as ever; a name is the proxy's to resolve.
func (d *Door) connectVia(ctx context.Context, a carrel.Action, to reach) (net.Conn, error) {
	if addr, err := netip.ParseAddr(to.host); err == nil {
		if _, bad := d.sift([]netip.Addr{addr}, to); bad != nil {
			return nil, &Breach{Action: a, Rule: "egress/address", Reason: bad.Error()}
		}
	}
	return d.dials.proxy.connect(ctx, net.JoinHostPort(to.host, strconv.Itoa(to.port)))
}

// nameAddress suggests the rule that would make a private address reachable.
func nameAddress(to reach, addrs []netip.Addr) []string {
	for _, addr := range addrs {
		if !isMetadata(addr) {
			return []string{fmt.Sprintf("if that is meant, name the address in the user's configuration: egress: [{host: %s, ports: [%d], addresses: [%s]}]", to.host, to.port, addr.Unmap())}
		}
	}
	return nil
}

// service returns the host service of a name under .desk.
func (rs *Rules) service(host string) (Service, bool) {
	if rs == nil || !strings.HasSuffix(host, deskSuffix) {
		return Service{}, false
	}
	s, ok := rs.services[host]
	return s, ok
}
