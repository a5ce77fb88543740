package egress

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/carrel-dev/carrel"
)

func nowhere(netip.Addr) bool { return false }

// 98: metadata addresses are never dialled, in no spelling and by no rule.
func TestMetadataIsNeverReachable(t *testing.T) {
	everything := prefixes("0.0.0.0/0", "::/0", "169.254.0.0/16", "169.254.169.254/32", "fd00::/8", "fd00:ec2::254/128", "100.64.0.0/10", "168.63.129.16/32", "100.100.100.200/32", "64:ff9b::/96", "2002::/16", "169.254.170.2/32")
	for _, s := range []string{
		"169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "169.254.170.2", "::ffff:169.254.169.254",
		"::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254", "::ffff:168.63.129.16",
	} {
		addr := netip.MustParseAddr(s)
		if checkAddress(addr, everything, nowhere) == nil || checkAddress(addr, []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}, nowhere) == nil {
			t.Errorf("%s may be dialled", s)
		}
	}
}

// 97: special ranges are reached only where a rule names them.
func TestSpecialAddressesNeedANamingRule(t *testing.T) {
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.1.1", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1",
		"192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1",
		"3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "4000::1", "1::1",
	} {
		addr := netip.MustParseAddr(s)
		if checkAddress(addr, nil, nowhere) == nil || checkAddress(addr, prefixes("0.0.0.0/0", "::/0"), nowhere) == nil {
			t.Errorf("%s counts as public", s)
		}
		flat := addr.Unmap()
		if err := checkAddress(addr, []netip.Prefix{netip.PrefixFrom(flat, flat.BitLen())}, nowhere); err != nil {
			t.Errorf("a rule that names %s: %v", s, err)
		}
	}
	for _, s := range []string{"1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.0", "192.167.0.1", "11.0.0.1", "2606:4700::1111", "2a00:1450::1", "2620:fe::fe"} {
		if err := checkAddress(netip.MustParseAddr(s), nil, nowhere); err != nil {
			t.Errorf("public: %v", err)
		}
	}
	named := prefixes("10.1.0.0/16")
	if err := checkAddress(netip.MustParseAddr("10.1.2.3"), named, nowhere); err != nil {
		t.Error(err)
	}
	for _, s := range []string{"10.2.0.1", "1.1.1.1"} { // a rule that names addresses means those
		if checkAddress(netip.MustParseAddr(s), named, nowhere) == nil {
			t.Errorf("%s is outside what the rule names", s)
		}
	}
}

func TestThisHostsAddressesNeedToBeNamedExactly(t *testing.T) {
	self := netip.MustParseAddr("93.184.216.34")
	local := func(a netip.Addr) bool { return a == self }
	if checkAddress(self, nil, local) == nil || checkAddress(self, prefixes("93.184.0.0/16"), local) == nil || checkAddress(netip.MustParseAddr("::ffff:93.184.216.34"), nil, local) == nil {
		t.Error("this host's own address may be dialled")
	}
	if err := checkAddress(self, prefixes("93.184.216.34/32"), local); err != nil {
		t.Error(err)
	}
	var l localAddresses
	if !l.contains(netip.MustParseAddr("127.0.0.1")) || l.contains(netip.MustParseAddr("93.184.216.34")) {
		t.Error("the interfaces of this host are not known")
	}
}

// 109, 110: an allowed name that leads to addresses nobody meant.
func TestNamesThatLeadToForbiddenAddresses(t *testing.T) {
	server := echoServer(t)
	d := newDesk(t, setup{
		grants: Grants{Rules: []Rule{
			{Host: "*.ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP},
			{Host: "named.ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP, Addresses: []string{"10.1.2.3"}},
		}},
		addresses: map[string][]string{
			"private.ok.test": {"10.1.2.3"}, "loop.ok.test": {"127.0.0.1"}, "meta.ok.test": {"169.254.169.254"},
			"mixed.ok.test": {"127.0.0.1", public, "10.0.0.1"}, "named.ok.test": {"10.1.2.3"}, "mapped.ok.test": {"::ffff:127.0.0.1"},
		},
		dial: map[string]string{public + ":5432": server, "10.1.2.3:5432": server},
	})
	for _, host := range []string{"private.ok.test", "loop.ok.test", "meta.ok.test", "mapped.ok.test"} {
		if got, err := d.exchange(host, "5432", "canary"); err == nil {
			t.Errorf("%s answered %q", host, got)
		}
	}
	d.wantBreach("egress/address")
	if len(d.dialledTo()) != 0 {
		t.Errorf("dialled %v", d.dialledTo())
	}
	for _, host := range []string{"mixed.ok.test", "named.ok.test"} {
		if got, err := d.exchange(host, "5432", "hello"); got != "hello" {
			t.Errorf("%s: %q, %v", host, got, err)
		}
	}
	for _, to := range d.dialledTo() {
		if to.String() != public+":5432" && to.String() != "10.1.2.3:5432" {
			t.Errorf("dialled %s", to)
		}
	}
}

// 109: the answer that was checked is the one that is dialled.
func TestRebindingIsNotFollowed(t *testing.T) {
	var asked atomic.Int64
	d := newDesk(t, setup{
		grants: Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}}},
		dial:   map[string]string{public + ":5432": echoServer(t)},
		resolve: func(string) ([]netip.Addr, error) {
			if asked.Add(1) > 1 {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
			return []netip.Addr{netip.MustParseAddr(public)}, nil
		},
	})
	if got, err := d.exchange("ok.test", "5432", "hello"); got != "hello" || asked.Load() != 1 {
		t.Errorf("%q, %v after %d questions", got, err, asked.Load())
	}
	if got, err := d.exchange("ok.test", "5432", "hello"); err == nil {
		t.Errorf("the second answer was followed: %q", got)
	}
}
