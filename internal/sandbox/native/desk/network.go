package desk

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// raiseLoopback comes before any bind: an address bound on a loopback that is
// down makes answers leave from the wrong one.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// openSockets opens what the supervisor captures connections and answers
// names with, in the order of the message Networked.
func openSockets() (fds []int, err error) {
	open := []func() (int, error){
		func() (int, error) { return listen(unix.SOCK_STREAM, netip.AddrPortFrom(loopback, 0)) },
		func() (int, error) { return listen(unix.SOCK_DGRAM, netip.AddrPortFrom(loopback, 53)) },
		func() (int, error) { return listen(unix.SOCK_STREAM, netip.AddrPortFrom(loopback, 53)) },
		func() (int, error) { return netlink(unix.NETLINK_ROUTE) },
		func() (int, error) { return netlink(unix.NETLINK_NETFILTER) },
	}
	for i, f := range open {
		fd, err := f()
		if i == len(open)-1 && err != nil {
			break // a kernel without netfilter: the supervisor has a fallback
		}
		if err != nil {
			CloseAll(fds)
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func netlink(protocol int) (int, error) {
	return unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
}

// backlog of listening sockets; the kernel cuts it at somaxconn.
const backlog = 1024

func listen(kind int, at netip.AddrPort) (int, error) {
	family, addr := sockaddr(at)
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("listening on %v: %w", at, err)
	}
	if kind == unix.SOCK_STREAM {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, addr)
	}
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listening on %v: %w", at, err)
	}
	return fd, nil
}

func sockaddr(at netip.AddrPort) (family int, addr unix.Sockaddr) {
	if at.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())}
}

// listenFor answers a Listen message; text is "tcp ADDRESS" or "udp ADDRESS",
// or "dial FAMILY" for a socket that the supervisor itself will connect to
// servers inside.
func listenFor(text string) (int, error) {
	network, address, _ := strings.Cut(text, " ")
	if network == "dial" {
		return dialer(address)
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return -1, err
	}
	switch network {
	case "tcp":
		return listen(unix.SOCK_STREAM, at)
	case "udp":
		return listen(unix.SOCK_DGRAM, at)
	}
	return -1, errors.New("unknown network " + network)
}

func dialer(family string) (int, error) {
	families := map[string]int{"ip4": unix.AF_INET, "ip6": unix.AF_INET6}
	number, ok := families[family]
	if !ok {
		return -1, errors.New("unknown family " + family)
	}
	return unix.Socket(number, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
}
