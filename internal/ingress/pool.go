//go:build linux

package ingress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// perFamily is how many sockets of each family lead in, and so how many
// connections there are at once; further ones wait.
const perFamily = 32

// dialTimeout bounds a connection that a server inside does not take.
const dialTimeout = 5 * time.Second

// pool holds sockets of the desk's network. A socket belongs to the network it
// was made in, whoever holds it, and can be connected again when a connection
// has ended: so a few of them, made before the agent starts, are enough.
type pool struct{ free map[int]chan int } // by family; descriptors

// newPool asks for the sockets. A desk without IPv6 has only the others.
func newPool(dial func(family int) (*os.File, error)) (*pool, error) {
	p := &pool{map[int]chan int{}}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		p.free[family] = make(chan int, perFamily)
		for range perFamily {
			f, err := dial(family)
			if err != nil && family == unix.AF_INET6 {
				break
			}
			if err != nil {
				p.close()
				return nil, fmt.Errorf("opening a socket inside: %w", err)
			}
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			f.Close()
			if err != nil {
				p.close()
				return nil, fmt.Errorf("keeping a socket of the desk: %w", err)
			}
			p.free[family] <- fd
		}
	}
	return p, nil
}

// close gives up what is free; what is in use is closed when it comes back.
func (p *pool) close() {
	for _, free := range p.free {
		for len(free) > 0 {
			unix.Close(<-free)
		}
	}
}

// connect connects to a port inside. done must be called when conn is no
// longer needed, after its users have ended.
func (p *pool) connect(ctx context.Context, port int) (conn *net.TCPConn, done func(), err error) {
	to := map[int]unix.Sockaddr{
		unix.AF_INET:  &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}},
		unix.AF_INET6: &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}},
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		if cap(p.free[family]) == 0 || family == unix.AF_INET6 && len(p.free[family]) == 0 {
			continue
		}
		var fd int
		select {
		case fd = <-p.free[family]:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		back := func() { p.giveBack(ctx, family, fd) }
		if err = connect(fd, to[family]); err == nil {
			conn, err = asConn(fd)
		}
		if err == nil {
			return conn, func() { conn.Close(); back() }, nil
		}
		back()
	}
	return nil, nil, fmt.Errorf("nothing answers on port %d inside: %w", port, err)
}

// giveBack ends the socket's connection and makes it ready for the next.
func (p *pool) giveBack(ctx context.Context, family, fd int) {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR) // fails where the other side has
	if ctx.Err() != nil || disconnect(fd) != nil {
		unix.Close(fd)
		return
	}
	p.free[family] <- fd
}

func connect(fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	if !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	deadline := time.Now().Add(dialTimeout)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n == 0 {
			continue
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		return err
	}
}

// disconnect makes a socket as new (connect(2), AF_UNSPEC).
func disconnect(fd int) error {
	var unspecified unix.RawSockaddr // family 0
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspecified)), unix.SizeofSockaddrInet4)
	if errno != 0 {
		return errno
	}
	return nil
}

// asConn wraps a copy of a connected socket.
func asConn(fd int) (*net.TCPConn, error) {
	double, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(double), "inside")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
