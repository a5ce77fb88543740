package egress

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// loopbackIndex is the interface index of lo in every network namespace.
const loopbackIndex = 1

// routeHome brings the loopback interface up and makes every address a local
// one, so that each connection the desk opens ends at the desk itself, where
// it is captured or refused.
func routeHome(s *netlinkSocket) error {
	if err := s.exchange([]netlink.Message{linkUp(), localDefault(unix.AF_INET)}); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("routing the desk's connections to itself: %w", err)
	}
	err := s.exchange([]netlink.Message{localDefault(unix.AF_INET6)})
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		return nil
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EACCES):
		return nil // a kernel without IPv6, or with it switched off: nothing leaves by it either
	}
	return fmt.Errorf("routing the desk's IPv6 connections to itself: %w", err)
}

func linkUp() netlink.Message {
	data := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(data[4:], loopbackIndex)
	binary.NativeEndian.PutUint32(data[8:], unix.IFF_UP)
	binary.NativeEndian.PutUint32(data[12:], unix.IFF_UP)
	return request(unix.RTM_NEWLINK, 0, data)
}

// localDefault is "ip route add local default dev lo".
func localDefault(family byte) netlink.Message {
	data := make([]byte, unix.SizeofRtMsg)
	data[0] = family
	data[4] = unix.RT_TABLE_LOCAL
	data[5] = unix.RTPROT_STATIC
	data[6] = unix.RT_SCOPE_HOST
	data[7] = unix.RTN_LOCAL
	oif := binary.NativeEndian.AppendUint32([]byte{8, 0, unix.RTA_OIF, 0}, loopbackIndex)
	binary.NativeEndian.PutUint16(oif, 8)
	binary.NativeEndian.PutUint16(oif[2:], unix.RTA_OIF)
	return request(unix.RTM_NEWROUTE, netlink.Create|netlink.Excl, append(data, oif...))
}

func request(kind netlink.HeaderType, flags netlink.HeaderFlags, data []byte) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | flags}, Data: data}
}
