//go:build linux

package attack

import (
	"errors"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// behindWalls reads a /proc/PID/status.
func behindWalls(status string) error {
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"} {
		if !strings.Contains(status, want) {
			return nil
		}
	}
	return stopped("it runs, behind every wall")
}

func opensSocket(family, kind, proto int) func(*Stage) error {
	return func(*Stage) error {
		fd, err := unix.Socket(family, kind, proto)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
}

// sockets are families and protocols that no agent needs.
func sockets() []Attack {
	family, proto := []error{unix.EAFNOSUPPORT}, []error{unix.EPROTONOSUPPORT}
	table := []struct {
		name               string
		by                 []error
		family, kind, prot int
	}{
		{"alg", family, unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		{"vsock", family, unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		{"packet", family, unix.AF_PACKET, unix.SOCK_RAW, 0},
		{"bluetooth", family, unix.AF_BLUETOOTH, unix.SOCK_RAW, 0},
		{"tipc", family, unix.AF_TIPC, unix.SOCK_STREAM, 0},
		{"can", family, unix.AF_CAN, unix.SOCK_RAW, 1},
		{"key", family, unix.AF_KEY, unix.SOCK_RAW, 2},
		{"xdp", family, unix.AF_XDP, unix.SOCK_RAW, 0},
		{"raw", forbidden, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		{"raw6", forbidden, unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
		{"sctp", proto, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
		{"ping", forbidden, unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
		{"netfilter", proto, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
		{"xfrm", proto, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM},
		{"generic", proto, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC},
		{"diag", proto, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG},
		{"audit", proto, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
		{"uevent", proto, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT},
	}
	var rows []Attack
	for _, c := range table {
		rows = append(rows, Attack{Name: "socket:" + c.name, Tries: "open a socket of kind " + c.name, By: c.by,
			Try: opensSocket(c.family, c.kind, c.prot), Twin: ordinarySockets, TwinTries: "open TCP, UDP, Unix and route sockets"})
	}
	return append(rows,
		Attack{Name: "socket:pair", Tries: "open a pair of sockets that is not Unix", By: family,
			Try: raw(unix.SYS_SOCKETPAIR, unix.AF_TIPC, unix.SOCK_STREAM, 0, word), Twin: pairs, TwinTries: "open a pair of Unix sockets"},
		Attack{Name: "route:add", Tries: "add a route", By: forbidden, Try: addsRoute, Twin: ordinarySockets, TwinTries: "open TCP, UDP, Unix and route sockets"},
	)
}

func ordinarySockets(s *Stage) error {
	return errors.Join(
		opensSocket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP)(s), opensSocket(unix.AF_INET, unix.SOCK_DGRAM, 0)(s),
		opensSocket(unix.AF_INET6, unix.SOCK_STREAM, 0)(s), opensSocket(unix.AF_UNIX, unix.SOCK_STREAM, 0)(s),
		opensSocket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)(s))
}

func pairs(*Stage) error {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Close(p[0]), unix.Close(p[1]))
}

// addsRoute asks for a route that is none: whoever may add routes is told that
// it is invalid.
func addsRoute(*Stage) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	msg := make([]byte, unix.NLMSG_HDRLEN+unix.SizeofRtMsg+unix.SizeofRtAttr+4)
	*(*unix.NlMsghdr)(unsafe.Pointer(&msg[0])) = unix.NlMsghdr{Len: uint32(len(msg)), Type: unix.RTM_NEWROUTE, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE, Seq: 1}
	*(*unix.RtMsg)(unsafe.Pointer(&msg[unix.NLMSG_HDRLEN])) = unix.RtMsg{Family: unix.AF_INET, Dst_len: 200, Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_STATIC, Type: unix.RTN_BLACKHOLE}
	*(*unix.RtAttr)(unsafe.Pointer(&msg[unix.NLMSG_HDRLEN+unix.SizeofRtMsg])) = unix.RtAttr{Len: unix.SizeofRtAttr + 4, Type: unix.RTA_DST}
	copy(msg[len(msg)-4:], []byte{192, 0, 2, 77})
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 512)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil || n < unix.NLMSG_HDRLEN+4 {
		return err
	}
	if e := *(*int32)(unsafe.Pointer(&buf[unix.NLMSG_HDRLEN])); e != 0 {
		return unix.Errno(-e)
	}
	return nil
}
