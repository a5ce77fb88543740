package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// copyChunk of what is copied by hand; a connection that waits holds none.
	copyChunk = 32 << 10
	// bulkRun is how much is then moved within the kernel (splice) before it is
	// looked again whether there is more: the pipe for it is held meanwhile.
	bulkRun = 16 << 20
)

var chunks = sync.Pool{New: func() any { return new([copyChunk]byte) }}

// relay copies both ways until both sides have finished, one has failed, or
// ctx ends. It returns how many bytes went each way.
func relay(ctx context.Context, inside, outside net.Conn, sent *allowance) (out, in int64, err error) {
	stop := context.AfterFunc(ctx, func() { sever(inside, outside) })
	defer stop()
	done := make(chan error, 1)
	go func() {
		var err error
		in, err = copyHalf(inside, outside, nil)
		if err != nil {
			sever(inside, outside)
		}
		done <- err
	}()
	out, err = copyHalf(outside, inside, sent)
	if err != nil {
		sever(inside, outside)
	}
	back := <-done
	return out, in, errors.Join(broken(err), broken(back))
}

// copyHalf copies one direction and passes its end on. sent counts what is
// copied; nil does not.
func copyHalf(dst, src net.Conn, sent *allowance) (int64, error) {
	n, err := copyAll(dst, src, sent)
	if half, ok := dst.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
		if errors.Is(err, syscall.ENOTCONN) { // the peer has gone altogether
			err = nil
		}
	}
	return n, err
}

// copyAll copies small pieces by hand and bulk within the kernel.
func copyAll(dst, src net.Conn, sent *allowance) (total int64, err error) {
	from, ok := src.(*net.TCPConn)
	if !ok {
		return io.Copy(dst, src)
	}
	raw, err := from.SyscallConn()
	if err != nil {
		return 0, err
	}
	var out syscall.RawConn // nil: dst is more than a socket
	if to, ok := dst.(*net.TCPConn); ok {
		if out, err = to.SyscallConn(); err != nil {
			return 0, err
		}
	}
	for {
		n, more, err := copyChunkOf(dst, out, raw, sent)
		total += int64(n)
		if err != nil || n == 0 {
			return total, err
		}
		if !more || sent.bounded() { // of what is counted, each piece is, before it leaves
			continue
		}
		run, err := copyRun(dst, from, sent)
		total += run
		if err != nil {
			return total, err
		}
	}
}

// copyRun moves bulk that nothing bounds.
func copyRun(dst net.Conn, src *net.TCPConn, sent *allowance) (int64, error) {
	n, err := io.CopyN(dst, src, bulkRun)
	if sent != nil {
		if over := sent.spend(n); over != nil { // there is a bound by now
			return n, over
		}
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// copyChunkOf waits until there is something to read and copies one piece.
// more says that there is probably more where it came from; no bytes and no
// error are the end.
func copyChunkOf(dst net.Conn, out, raw syscall.RawConn, sent *allowance) (n int, more bool, err error) {
	var chunk *[copyChunk]byte
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		chunk = chunks.Get().(*[copyChunk]byte)
		if n, failed = readNow(fd, chunk[:]); failed == unix.EAGAIN {
			chunks.Put(chunk)
			chunk, n = nil, 0
			return false
		}
		return true
	})
	if chunk == nil {
		return 0, false, err
	}
	defer chunks.Put(chunk)
	if err := errors.Join(err, failed); err != nil || n == 0 {
		return 0, false, err
	}
	if sent != nil {
		if over := sent.spend(int64(n)); over != nil {
			return 0, false, over
		}
	}
	more = n == copyChunk
	if out != nil {
		n, err = writeAll(out, chunk[:n])
	} else {
		n, err = dst.Write(chunk[:n])
	}
	return n, more, err
}

// writeAll writes b to a socket, waiting for room where it must.
func writeAll(raw syscall.RawConn, b []byte) (n int, err error) {
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			var m int
			if m, failed = writeNow(fd, b[n:]); failed != nil {
				return failed != unix.EAGAIN
			}
			n += m
		}
		return true
	})
	return n, errors.Join(err, failed)
}

// readNow reads from a socket that never blocks, and so need not tell the
// scheduler that it may.
func readNow(fd uintptr, b []byte) (int, error) { return atOnce(unix.SYS_READ, fd, b, 0) }

// writeNow is the same for writing.
func writeNow(fd uintptr, b []byte) (int, error) { return atOnce(unix.SYS_WRITE, fd, b, 0) }

// peekNow is the same for looking at what is there and leaving it.
func peekNow(fd uintptr, b []byte) error {
	_, err := atOnce(unix.SYS_RECVFROM, fd, b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err
}

func atOnce(call, fd uintptr, b []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
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
