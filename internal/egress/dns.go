package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

const (
	// answerTTL is short: an answer costs the desk nothing to ask again.
	answerTTL = 30
	// maxQueries bounds the questions being decided at once; a person may be
	// asked about each. Further ones are told to come back.
	maxQueries = 64
)

var errRefused = errors.New("the desk may not know this name")

// resolver answers the desk's questions about names, from decisions alone: no
// question is ever passed on.
type resolver struct {
	door  *Door
	ctx   context.Context
	slots chan struct{}
}

func newResolver(ctx context.Context, d *Door) *resolver {
	return &resolver{d, ctx, make(chan struct{}, maxQueries)}
}

// serveUDP answers on conn until it is closed.
func (r *resolver) serveUDP(conn net.PacketConn) error {
	return (&dns.Server{PacketConn: conn, Handler: r}).ActivateAndServe()
}

// serveTCP answers on l until it is closed.
func (r *resolver) serveTCP(l net.Listener) error {
	return (&dns.Server{Listener: l, Handler: r, ReadTimeout: 5 * time.Second, MaxTCPQueries: 128}).ActivateAndServe()
}

// ServeDNS implements dns.Handler.
func (r *resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	reply := new(dns.Msg).SetReply(q)
	reply.RecursionAvailable = true
	select {
	case r.slots <- struct{}{}:
		r.fill(reply, q)
		<-r.slots
	default:
		reply.Rcode = dns.RcodeServerFailure
	}
	_ = w.WriteMsg(reply) // the client may have gone
}

func (r *resolver) fill(reply, q *dns.Msg) {
	if q.Opcode != dns.OpcodeQuery || len(q.Question) != 1 || q.Question[0].Qclass != dns.ClassINET {
		reply.Rcode = dns.RcodeRefused
		return
	}
	question := q.Question[0]
	if question.Qtype == dns.TypePTR {
		r.reverse(reply, question)
		return
	}
	host, err := CanonicalHost(question.Name)
	if err != nil { // not a host's name: nothing that could be granted
		r.door.count("names_malformed")
		r.door.gate.Judge(r.ctx, r.door.action(carrel.OpResolve, ownerOf(question.Name), 0, carrel.ProtoDNS))
		reply.Rcode = dns.RcodeNameError
		return
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761, 6.3
		answer(reply, question, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		return
	}
	addr, err := r.decide(host, question.Qtype)
	switch {
	case err == nil:
		answer(reply, question, addr)
	case errors.Is(err, errRefused), errors.As(err, new(*gate.Refusal)):
		reply.Rcode = dns.RcodeNameError
	default:
		reply.Rcode = dns.RcodeServerFailure
	}
}

// ownerOf returns whose name was asked for with something before it that no
// host has: a service of an allowed host (_http._tcp.ok.test) is no denial
// worth a record, anything below another host is.
func ownerOf(name string) string {
	owner := name
	for strings.HasPrefix(owner, "_") {
		_, owner, _ = strings.Cut(owner, ".")
	}
	if host, err := CanonicalHost(owner); err == nil {
		return host
	}
	return shorten(name)
}

// decide asks the gate whether the desk may know host, and gives it an
// address. A question for anything but an address has no effect and leaves a
// record only if it is denied. Programs ask about the same name before every
// connection: while an answer stands, it is repeated and counted.
func (r *resolver) decide(host string, qtype uint16) (addr netip.Addr, err error) {
	if addr, ok := r.door.names.recent(host); ok {
		r.door.count("names_repeated")
		return addr, nil
	}
	a := r.door.action(carrel.OpResolve, host, 0, carrel.ProtoDNS)
	if qtype != dns.TypeA {
		if d := r.door.gate.Judge(r.ctx, a); !d.Allows() {
			return addr, errRefused
		}
		return addr, nil
	}
	_, err = r.door.gate.Do(r.ctx, a, func(_ context.Context, g gate.Grant) (carrel.Outcome, error) {
		if err := g.Covers(a); err != nil {
			return carrel.Outcome{}, err
		}
		addr, err = r.door.names.address(host)
		return carrel.Outcome{Facts: map[string]carrel.Text{"address": carrel.Text(addr.String())}}, err
	})
	return addr, err
}

// answer adds addr if that is what was asked for; every other type has no
// data.
func answer(reply *dns.Msg, q dns.Question, addr netip.Addr) {
	if q.Qtype == dns.TypeA {
		header := dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: answerTTL}
		reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: addr.AsSlice()})
	}
}

// reverse names synthetic addresses, which the desk was given together with
// their names; it knows no others.
func (r *resolver) reverse(reply *dns.Msg, q dns.Question) {
	addr, ok := reverseAddr(q.Name)
	name := r.door.names.name(addr)
	if !ok || name == "" {
		reply.Rcode = dns.RcodeNameError
		return
	}
	header := dns.RR_Header{Name: q.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: answerTTL}
	reply.Answer = append(reply.Answer, &dns.PTR{Hdr: header, Ptr: dns.Fqdn(name)})
}

// reverseAddr reads d.c.b.a.in-addr.arpa.
func reverseAddr(name string) (netip.Addr, bool) {
	body, ok := strings.CutSuffix(strings.ToLower(name), ".in-addr.arpa.")
	parts := strings.Split(body, ".")
	if !ok || len(parts) != 4 {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
	return addr, err == nil
}
