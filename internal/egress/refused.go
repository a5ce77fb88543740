package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The parts of linux/netfilter/nfnetlink_log.h that x/sys does not have.
const (
	logConfig  = unix.NFNL_SUBSYS_ULOG<<8 | 1 // NFULNL_MSG_CONFIG
	logPacket  = unix.NFNL_SUBSYS_ULOG << 8   // NFULNL_MSG_PACKET
	logCommand = 1                            // NFULA_CFG_CMD
	logMode    = 2                            // NFULA_CFG_MODE
	logBind    = 1                            // NFULNL_CFG_CMD_BIND
	logCopy    = 2                            // NFULNL_COPY_PACKET
	logPayload = 9                            // NFULA_PAYLOAD
)

// listenRefused makes s hear of the packets that the rules refuse.
func listenRefused(s *netlinkSocket) error {
	header := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, logGroup)
	message := func(attr netlink.Attribute) (netlink.Message, error) {
		b, err := netlink.MarshalAttributes([]netlink.Attribute{attr})
		return request(logConfig, 0, append(header[:len(header):len(header)], b...)), err
	}
	bind, err1 := message(netlink.Attribute{Type: logCommand, Data: []byte{logBind}})
	mode, err2 := message(netlink.Attribute{Type: logMode, Data: []byte{0, 0, 0, logBytes, logCopy, 0}})
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("listening for refused packets: %w", err)
	}
	for _, m := range []netlink.Message{bind, mode} {
		if err := s.exchange([]netlink.Message{m}); err != nil {
			return fmt.Errorf("listening for refused packets: %w", err)
		}
	}
	return nil
}

// countRefused asks how many packets the rules have refused so far. Nobody
// else may read s meanwhile.
func countRefused(s *netlinkSocket) (packets int64, err error) {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_OBJ_TABLE, Data: []byte(tableName + "\x00")},
		{Type: unix.NFTA_OBJ_NAME, Data: []byte(refusedCounter + "\x00")},
		{Type: unix.NFTA_OBJ_TYPE, Data: binary.BigEndian.AppendUint32(nil, unix.NFT_OBJECT_COUNTER)},
	})
	if err != nil {
		return 0, fmt.Errorf("counting refused packets: %w", err)
	}
	packets = -1
	get := request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETOBJ, 0, append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, attrs...))
	err = s.ask([]netlink.Message{get}, func(m syscall.NetlinkMessage) {
		if m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWOBJ && len(m.Data) > 4 {
			packets = nestedCounter(m.Data[4:])
		}
	})
	if err == nil && packets < 0 {
		err = errors.New("the kernel did not say")
	}
	if err != nil {
		return 0, fmt.Errorf("counting refused packets: %w", err)
	}
	return packets, nil
}

// nestedCounter reads the packets of a counter object, -1 if there are none.
func nestedCounter(b []byte) int64 {
	for _, kind := range []uint16{unix.NFTA_OBJ_DATA, unix.NFTA_COUNTER_PACKETS} {
		attrs, err := netlink.UnmarshalAttributes(b)
		if b = nil; err != nil {
			return -1
		}
		for _, a := range attrs {
			if a.Type&^unix.NLA_F_NESTED == kind {
				b = a.Data
			}
		}
	}
	if len(b) != 8 {
		return -1
	}
	return int64(binary.BigEndian.Uint64(b))
}

// refusedPacket is one packet that the rules refused.
type refusedPacket struct {
	protocol byte // an IP protocol number
	to       netip.AddrPort
}

// readRefused calls tell for every refused packet until the read deadline of s
// passes or s is closed, and lost when the kernel could not keep some.
func readRefused(s *netlinkSocket, tell func(refusedPacket), lost func()) {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.f.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			lost()
			continue
		case err != nil: // closed, or told to stop by a deadline
			return
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			lost()
			continue
		}
		for _, m := range messages {
			if p, ok := parseRefused(m); ok {
				tell(p)
			}
		}
	}
}

// parseRefused finds the packet in a log message. The packet was made by the
// desk: every length is checked.
func parseRefused(m syscall.NetlinkMessage) (refusedPacket, bool) {
	const header = 4 // struct nfgenmsg
	if m.Header.Type != logPacket || len(m.Data) < header {
		return refusedPacket{}, false
	}
	attrs, err := netlink.UnmarshalAttributes(m.Data[header:])
	if err != nil {
		return refusedPacket{}, false
	}
	for _, a := range attrs {
		if a.Type == logPayload {
			return parsePacket(a.Data)
		}
	}
	return refusedPacket{}, false
}

// parsePacket reads destination and protocol of an IP packet.
func parsePacket(b []byte) (p refusedPacket, ok bool) {
	var transport []byte
	var addr netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && len(b) >= int(b[0]&15)*4:
		p.protocol, addr, transport = b[9], netip.AddrFrom4([4]byte(b[16:20])), b[int(b[0]&15)*4:]
	case len(b) >= 40 && b[0]>>4 == 6:
		p.protocol, addr, transport = b[6], netip.AddrFrom16([16]byte(b[24:40])), b[40:]
	default:
		return p, false
	}
	var port uint16
	if (p.protocol == unix.IPPROTO_TCP || p.protocol == unix.IPPROTO_UDP) && len(transport) >= 4 {
		port = binary.BigEndian.Uint16(transport[2:])
	}
	p.to = netip.AddrPortFrom(addr, port)
	return p, true
}
