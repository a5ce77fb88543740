package egress

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// metadata are the addresses at which clouds hand a machine its own
// credentials. No rule, however it is written, leads there.
var metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), // most clouds
	netip.MustParseAddr("169.254.170.2"),   // container credentials
	netip.MustParseAddr("169.254.170.23"),  // pod identity
	netip.MustParseAddr("169.254.0.23"),
	netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("192.0.0.192"),
	netip.MustParseAddr("fd00:ec2::254"),
	netip.MustParseAddr("fd00:ec2::23"),
	netip.MustParseAddr("fd20:ce::254"),
}

// special are the ranges of the special-purpose registries (RFC 6890 and its
// updates) and multicast: not the public internet. An address in one of them
// is dialled only where a rule names it.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
	"192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "::1/128", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64",
	"100:0:0:1::/64", "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48",
	"3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

// unicast6 is all of IPv6 that is handed out to the public.
var unicast6 = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// isMetadata looks through every way to write an IPv4 address inside an IPv6
// one.
func isMetadata(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, m := range metadata {
		if addr == m {
			return true
		}
	}
	inner, ok := embedded(addr)
	return ok && isMetadata(inner)
}

// embedded returns the IPv4 address that a translator or tunnel would reach.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case binary.BigEndian.Uint16(b[:]) == 0x2002: // 6to4
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case binary.BigEndian.Uint32(b[:]) == 0x0064ff9b, // NAT64
		[12]byte(b[:12]) == [12]byte{}: // IPv4-compatible
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return netip.Addr{}, false
}

// specialRange returns the narrowest range that makes addr other than public.
func specialRange(addr netip.Addr) (netip.Prefix, bool) {
	var found netip.Prefix
	for _, p := range special {
		if p.Contains(addr) && (!found.IsValid() || p.Bits() > found.Bits()) {
			found = p
		}
	}
	if !found.IsValid() && addr.Is6() && !unicast6.Contains(addr) {
		block, err := addr.Prefix(unicast6.Bits())
		return block, err == nil
	}
	return found, found.IsValid()
}

// checkAddress returns why addr must not be dialled, or nil. named are the
// addresses the rule names; local reports an address of this host. A prefix
// names a special address only if all of it lies in that special range, and
// an address of this host only if it is that address: 0.0.0.0/0 names neither.
func checkAddress(addr netip.Addr, named []netip.Prefix, local func(netip.Addr) bool) error {
	addr = addr.Unmap()
	if isMetadata(addr) {
		return fmt.Errorf("%s hands out the machine's own credentials and is never reachable", addr)
	}
	var inside, exact bool
	within, isSpecial := specialRange(addr)
	meant := !isSpecial
	for _, p := range named {
		if p.Contains(addr) {
			inside = true
			exact = exact || p.IsSingleIP()
			meant = meant || p.Bits() >= within.Bits()
		}
	}
	switch {
	case len(named) > 0 && !inside:
		return fmt.Errorf("%s is none of the addresses the rule names", addr)
	case !meant:
		return fmt.Errorf("%s is not a public address (%s) and no rule names it", addr, within)
	case !exact && local(addr):
		return fmt.Errorf("%s is an address of this host and no rule names it", addr)
	}
	return nil
}

// localAddresses knows the addresses of this host's interfaces.
type localAddresses struct {
	mu    sync.Mutex
	at    time.Time
	known map[netip.Addr]bool
}

// freshness bounds how long a new address of an interface goes unnoticed, so
// that a connection need not list the interfaces.
const freshness = 2 * time.Second

// contains fails closed: if the interfaces cannot be listed, every address
// counts as local.
func (l *localAddresses) contains(addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) > freshness {
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return true
		}
		l.at, l.known = time.Now(), make(map[netip.Addr]bool, len(addrs))
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.known[p.Addr().Unmap()] = true
			}
		}
	}
	return l.known[addr]
}
