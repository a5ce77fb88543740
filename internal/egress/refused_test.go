package egress

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// 91, 94: nothing but TCP leaves, and what does not is refused at once.
func TestDatagramsAreRefusedAtOnce(t *testing.T) {
	d := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{443, 853}}}}})
	for _, addr := range []string{"8.8.8.8:443", "1.1.1.1:853", "224.0.0.251:5353", "224.0.0.252:5355", "[2606:4700::1111]:443", "[ff02::fb]:5353", "10.0.0.1:9"} {
		c, err := d.dial("udp", addr)
		if err != nil {
			continue // refused even earlier
		}
		c.SetDeadline(time.Now().Add(2 * time.Second))
		start := time.Now()
		_, err = c.Write([]byte("canary"))
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		c.Close()
		if err == nil || time.Since(start) > time.Second {
			t.Errorf("a datagram to %s: %v after %s", addr, err, time.Since(start))
		}
	}
	d.wantRefused(carrel.OpConnect, "8.8.8.8", "egress/protocol")
	eventually(t, "a count of datagrams", func() bool { return d.door.Counts()["refused_udp"] > 0 })
}

// 185: a flood of refused packets is told in part and counted in full.
func TestAFloodIsCounted(t *testing.T) {
	d := newDesk(t, setup{})
	c, err := d.dial("udp", "8.8.8.8:443")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var flood int64
	for range 5000 {
		if _, err := c.Write([]byte("canary")); errors.Is(err, syscall.EPERM) { // else an earlier refusal is reported, nothing sent
			flood++
		}
	}
	d.door.Close()
	counts := d.door.Counts()
	if told := counts["refused_udp"]; told == 0 || told > flood/2 {
		t.Errorf("told %d of %d", told, flood)
	}
	if all := counts["refused_udp"] + counts["refused_other"] + counts["refused_tcp"] + counts["refused_untold"]; all != flood {
		t.Errorf("counted %d of %d: %v", all, flood, counts)
	}
	if n := len(d.log.Records()); n > 10 {
		t.Errorf("%d records", n)
	}
}

func TestICMPAndRawAreRefused(t *testing.T) {
	d := newDesk(t, setup{})
	for network, addr := range map[string]string{"ip4:icmp": "8.8.8.8", "ip4:47": "8.8.8.8", "ip4:132": "1.1.1.1", "ip6:ipv6-icmp": "2606:4700::1111"} {
		c, err := d.dial(network, addr)
		if err != nil {
			continue
		}
		c.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Write([]byte("\x08\x00\x00\x00canary\x00\x00")); err == nil {
			if _, err = c.Read(make([]byte, 64)); err == nil {
				t.Errorf("%s to %s was answered", network, addr)
			}
		}
		c.Close()
	}
	d.wantRefused(carrel.OpConnect, "8.8.8.8", "egress/protocol")
}

// The desk's own servers stay its own: TCP and UDP on loopback are untouched.
func TestTheDesksOwnLoopbackWorks(t *testing.T) {
	d := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{8080}}}}})
	f, err := d.listen("127.0.0.1:8080") // even on a port that a rule names
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			c.Write([]byte("own\n"))
			c.Close()
		}
	}()
	c, err := d.dial("tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 4)
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if n, err := c.Read(buf); string(buf[:n]) != "own\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if n := d.door.Counts()["connections"]; n != 0 {
		t.Errorf("%d connections of the desk to itself were captured", n)
	}
}

// 101: the door's own sockets serve nothing but what was captured.
func TestDoorsOwnPortsLeadNowhere(t *testing.T) {
	host := echoServer(t)
	_, hostPort, _ := net.SplitHostPort(host)
	d := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "ok.test"}}}})
	out, _ := d.exec("/bin/sh", "-c", "awk 'NR>1 && $4==\"0A\" {print $2}' /proc/net/tcp")
	ports := 0
	for _, line := range strings.Fields(out) {
		_, hex, _ := strings.Cut(line, ":")
		if hex == "0035" {
			continue
		}
		ports++
		addr := "127.0.0.1:" + portFromHex(t, hex)
		c, err := d.dial("tcp", addr)
		if err != nil {
			continue // reset before connect returned
		}
		c.SetDeadline(time.Now().Add(3 * time.Second))
		c.Write([]byte("GET / HTTP/1.1\r\nHost: model.desk\r\n\r\n"))
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s answered: %d bytes, %v", addr, n, err)
		}
		c.Close()
	}
	if ports == 0 {
		t.Error("found no listening socket of the door inside")
	}
	if c, err := d.dial("tcp", "127.0.0.1:"+hostPort); err == nil { // the host's loopback is another
		c.Close()
		t.Error("a server on the host's loopback is reachable")
	}
}

func portFromHex(t *testing.T, hex string) string {
	t.Helper()
	port, err := strconv.ParseUint(hex, 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatUint(port, 10)
}

// 92: no name leaves before a decision, whoever is asked and however.
func TestNamesAreAnsweredFromDecisionsAlone(t *testing.T) {
	d := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "ok.test"}, {Host: "*.wild.test"}}}})
	ask := func(network, server, name string, qtype uint16) *dns.Msg {
		t.Helper()
		c, err := d.dial(network, server)
		if err != nil {
			t.Fatalf("asking %s over %s: %v", server, network, err)
		}
		defer c.Close()
		conn := &dns.Conn{Conn: c}
		conn.SetDeadline(time.Now().Add(3 * time.Second))
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion(name, qtype)); err != nil {
			t.Fatal(err)
		}
		m, err := conn.ReadMsg()
		if err != nil {
			t.Fatalf("asking %s over %s for %s: %v", server, network, name, err)
		}
		return m
	}
	for _, via := range [][2]string{{"udp", "127.0.0.1:53"}, {"udp", "8.8.8.8:53"}, {"tcp", "127.0.0.1:53"}, {"tcp", "9.9.9.9:53"}} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeNULL, dns.TypeSRV, dns.TypeHTTPS, dns.TypeMX, dns.TypeANY} {
			m := ask(via[0], via[1], "canary.evil.test.", qtype)
			if m.Rcode != dns.RcodeNameError || len(m.Answer)+len(m.Extra)+len(m.Ns) != 0 {
				t.Errorf("evil over %v type %d: %v", via, qtype, m)
			}
			m = ask(via[0], via[1], "oK.TesT.", qtype)
			wantA := qtype == dns.TypeA
			if m.Rcode != dns.RcodeSuccess || (len(m.Answer) == 1) != wantA {
				t.Errorf("ok over %v type %d: %v", via, qtype, m)
			}
			if wantA && (!synthetic.Contains(addrOf(m)) || m.Answer[0].Header().Name != "oK.TesT.") {
				t.Errorf("ok over %v: %v", via, m.Answer)
			}
		}
	}
	d.wantRefused(carrel.OpResolve, "canary.evil.test", "egress/unnamed")
	a, b := ask("udp", "127.0.0.1:53", "a.wild.test.", dns.TypeA), ask("udp", "127.0.0.1:53", "b.wild.test.", dns.TypeA)
	if addrOf(a) == addrOf(b) || addrOf(a) != addrOf(ask("udp", "127.0.0.1:53", "A.Wild.Test.", dns.TypeA)) {
		t.Error("names do not keep addresses of their own")
	}
	for _, name := range []string{"wild.test.", "ok.test.lan.", "ok.test.ok.test.", "xok.test.", "model.desk.", "x_y.wild.test.", "a\\000b.wild.test.", "1.2.3.4."} {
		if m := ask("udp", "127.0.0.1:53", name, dns.TypeA); m.Rcode != dns.RcodeNameError {
			t.Errorf("%s: %v", name, m)
		}
	}
	for name, recorded := range map[string]string{"_c4n4ry._tcp.evil.test.": "evil.test", "c4_n4ry.evil.test.": "c4_n4ry.evil.test."} {
		if m := ask("udp", "127.0.0.1:53", name, dns.TypeSRV); m.Rcode != dns.RcodeNameError {
			t.Errorf("%s: %v", name, m)
		}
		d.wantRefused(carrel.OpResolve, recorded, "egress/unnamed")
	}
	before := len(d.log.Records())
	if m := ask("udp", "127.0.0.1:53", "_http._tcp.ok.test.", dns.TypeSRV); m.Rcode != dns.RcodeNameError || len(d.log.Records()) != before {
		t.Errorf("a service of an allowed host: %v, %d records more", m, len(d.log.Records())-before)
	}
	if m := ask("udp", "127.0.0.1:53", "localhost.", dns.TypeA); addrOf(m).String() != "127.0.0.1" {
		t.Errorf("localhost: %v", m)
	}
	reverse, _ := dns.ReverseAddr(addrOf(a).String())
	if m := ask("udp", "127.0.0.1:53", reverse, dns.TypePTR); len(m.Answer) != 1 || m.Answer[0].(*dns.PTR).Ptr != "a.wild.test." {
		t.Errorf("reverse: %v", m)
	}
	if m := ask("udp", "127.0.0.1:53", "8.8.8.8.in-addr.arpa.", dns.TypePTR); m.Rcode != dns.RcodeNameError {
		t.Errorf("reverse of a foreign address: %v", m)
	}
}

// Programs ask in their own ways; the usual ones get the same answers.
func TestUsualProgramsResolve(t *testing.T) {
	d := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "ok.test"}}}})
	if out, code := d.exec("/usr/bin/getent", "ahosts", "ok.test"); code != 0 || !strings.Contains(out, "198.18.") {
		t.Errorf("getent ok.test: %d %s", code, out)
	}
	if out, code := d.exec("/usr/bin/getent", "hosts", "evil.test"); code == 0 {
		t.Errorf("getent evil.test: %s", out)
	}
}

func TestParsePacketNeedsNoTrust(t *testing.T) {
	v4 := append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 8, 8, 8, 8}, 0, 9, 1, 187)
	if p, ok := parsePacket(v4); !ok || p.to.String() != "8.8.8.8:443" || p.protocol != unix.IPPROTO_UDP {
		t.Errorf("%v %v", p, ok)
	}
	for n := range v4 {
		parsePacket(v4[:n])
	}
	v4[0] = 0x4f // claims 60 bytes of header
	if p, ok := parsePacket(v4); ok {
		t.Errorf("a header longer than the packet gave %v", p)
	}
	if _, ok := parseRefused(syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: logPacket}, Data: []byte{0, 0, 0, 0, 255, 255, 9, 0}}); ok {
		t.Error("a broken attribute was read")
	}
}

// addrOf returns the first address of an answer.
func addrOf(m *dns.Msg) netip.Addr {
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			addr, _ := netip.AddrFromSlice(a.A.To4())
			return addr
		}
	}
	return netip.Addr{}
}
