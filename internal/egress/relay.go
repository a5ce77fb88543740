package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// relay copies both ways until both sides have finished, one has failed, or
// ctx ends. Plain io.Copy between two TCP connections stays in the kernel.
// It returns how many bytes went each way.
func relay(ctx context.Context, inside, outside net.Conn) (out, in int64, err error) {
	stop := context.AfterFunc(ctx, func() { sever(inside, outside) })
	defer stop()
	done := make(chan error, 1)
	go func() {
		var err error
		in, err = copyHalf(inside, outside)
		if err != nil {
			sever(inside, outside)
		}
		done <- err
	}()
	out, err = copyHalf(outside, inside)
	if err != nil {
		sever(inside, outside)
	}
	err = errors.Join(err, <-done)
	return out, in, broken(err)
}

// copyHalf copies one direction and passes its end on.
func copyHalf(dst, src net.Conn) (int64, error) {
	n, err := io.Copy(dst, src)
	if half, ok := dst.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
		if errors.Is(err, syscall.ENOTCONN) { // the peer has gone altogether
			err = nil
		}
	}
	return n, err
}

// broken tells a connection that failed from one that was merely reset by a
// peer or ended by us.
func broken(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// sever ends both connections at once, so that each peer sees a reset rather
// than an orderly end that never was.
func sever(conns ...net.Conn) {
	for _, c := range conns {
		reset(c)
	}
}

// reset ends c with a TCP reset where it has one.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.SetDeadline(time.Unix(1, 0))
	_ = c.Close()
}
