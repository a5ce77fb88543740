package egress

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// logGroup is where the kernel tells of refused packets. It is the desk's
	// own: groups belong to a network namespace.
	logGroup = 1
	// logRate bounds how many refused packets a second are told one by one;
	// the counter counts all.
	logRate, logBurst = 100, 100
	// logBytes of a packet are enough for its addresses and ports.
	logBytes = 64
	// tableName and refusedCounter name the desk's rules and their counter.
	tableName, refusedCounter = "carrel", "refused"
	// destinationNAT is where destinations are rewritten (NF_IP_PRI_NAT_DST).
	destinationNAT = -100
)

// capturePorts are where captured traffic is led on 127.0.0.1.
type capturePorts struct {
	tcp, dns, dnsTCP uint16
	named            []int // destination ports that are captured
}

// capture installs the desk's rules in one batch: all or nothing.
//
//	table inet carrel
//	  chain capture (nat output):  IPv4 port 53 → resolver; loopback stays;
//	                               named ports → listener
//	  chain refuse (filter output): what belongs to a known flow or is loopback
//	                               passes; the rest is counted, told, refused
func capture(s *netlinkSocket, p capturePorts, log bool) error {
	messages, err := encodeRules(func(c *nftables.Conn) error { return buildRules(c, p, log) })
	if err != nil {
		return err
	}
	if err := s.exchange(messages); err != nil {
		return fmt.Errorf("installing the desk's network rules: %w", err)
	}
	return nil
}

// encodeRules returns the batch that the library would send itself: it can
// dial a namespace, but not use a socket that was handed over.
func encodeRules(build func(*nftables.Conn) error) (batch []netlink.Message, err error) {
	record := func(sent []netlink.Message) ([]netlink.Message, error) {
		if sent != nil {
			batch = sent
			return nil, nil
		}
		return []netlink.Message{{Header: netlink.Header{Type: netlink.Error}, Data: make([]byte, 4)}}, nil
	}
	c, err := nftables.New(nftables.WithTestDial(record))
	if err != nil {
		return nil, fmt.Errorf("encoding the desk's network rules: %w", err)
	}
	if err := errors.Join(build(c), c.Flush()); err != nil {
		return nil, fmt.Errorf("encoding the desk's network rules: %w", err)
	}
	return batch, nil
}

func buildRules(c *nftables.Conn, p capturePorts, log bool) error {
	table := c.AddTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyINet})
	named, err := addPorts(c, table, p.named)
	if err != nil {
		return err
	}
	nat := c.AddChain(&nftables.Chain{Name: "capture", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRef(destinationNAT)})
	filter := c.AddChain(&nftables.Chain{Name: "refuse", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter})
	add := func(chain *nftables.Chain, parts ...[]expr.Any) {
		rule := &nftables.Rule{Table: table, Chain: chain}
		for _, p := range parts {
			rule.Exprs = append(rule.Exprs, p...)
		}
		c.AddRule(rule)
	}
	add(nat, ipv4(), protocol(unix.IPPROTO_UDP), toPort(53), redirect(p.dns))
	add(nat, ipv4(), protocol(unix.IPPROTO_TCP), toPort(53), redirect(p.dnsTCP))
	add(nat, ipv4(), loopback4(), verdict(expr.VerdictReturn))
	add(nat, ipv4(), protocol(unix.IPPROTO_TCP), toPortIn(named), redirect(p.tcp))

	add(filter, knownFlow(), verdict(expr.VerdictAccept))
	add(filter, ipv4(), loopback4(), verdict(expr.VerdictAccept))
	add(filter, ipv6(), loopback6(), verdict(expr.VerdictAccept))
	c.AddObj(&nftables.NamedObj{Table: table, Name: refusedCounter, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	add(filter, []expr.Any{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: refusedCounter}})
	if log {
		add(filter, tell())
	}
	add(filter, protocol(unix.IPPROTO_TCP), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	add(filter, []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}})
	return nil
}

// addPorts makes the set of captured ports. Its id is given because the
// library's own counter is shared by every desk and not guarded.
func addPorts(c *nftables.Conn, table *nftables.Table, ports []int) (*nftables.Set, error) {
	set := &nftables.Set{Table: table, Name: "ports", ID: 1, KeyType: nftables.TypeInetService}
	elements := make([]nftables.SetElement, len(ports))
	for i, port := range ports {
		elements[i].Key = binaryutil.BigEndian.PutUint16(uint16(port))
	}
	return set, c.AddSet(set, elements)
}

func ipv4() []expr.Any { return meta(expr.MetaKeyNFPROTO, unix.NFPROTO_IPV4) }
func ipv6() []expr.Any { return meta(expr.MetaKeyNFPROTO, unix.NFPROTO_IPV6) }

func protocol(p byte) []expr.Any { return meta(expr.MetaKeyL4PROTO, p) }

func meta(key expr.MetaKey, value byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{value}},
	}
}

// load reads part of the packet into register 1.
func load(base expr.PayloadBase, offset, length uint32) *expr.Payload {
	return &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: length}
}

func equals(b ...byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b} }

func toPort(port uint16) []expr.Any {
	return []expr.Any{load(expr.PayloadBaseTransportHeader, 2, 2), equals(binaryutil.BigEndian.PutUint16(port)...)}
}

func toPortIn(set *nftables.Set) []expr.Any {
	return []expr.Any{load(expr.PayloadBaseTransportHeader, 2, 2),
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}}
}

func loopback4() []expr.Any {
	return []expr.Any{load(expr.PayloadBaseNetworkHeader, 16, 1), equals(127)}
}

func loopback6() []expr.Any {
	return []expr.Any{load(expr.PayloadBaseNetworkHeader, 24, 16), equals(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)}
}

func redirect(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	}
}

// knownFlow is "ct state established,related".
func knownFlow() []expr.Any {
	mask := expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func tell() []expr.Any {
	return []expr.Any{
		&expr.Limit{Type: expr.LimitTypePkts, Rate: logRate, Unit: expr.LimitTimeSecond, Burst: logBurst},
		&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_SNAPLEN | 1<<unix.NFTA_LOG_QTHRESHOLD,
			Group: logGroup, Snaplen: logBytes, QThreshold: 1},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }
