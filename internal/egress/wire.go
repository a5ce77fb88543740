package egress

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// wire is what the door dialled for a line: the connection below TLS, where
// there is TLS. One goroutine reads at a time.
type wire struct {
	net.Conn
	records bool            // TLS records come over it
	raw     syscall.RawConn // of the socket at the bottom; nil: none that can be looked at
	head    [5]byte         // of the record that comes
	had     int             // bytes of head that came
	left    int             // bytes that its record still has
}

func newWire(conn net.Conn, records bool) *wire {
	return &wire{Conn: conn, records: records, raw: socketOf(conn)}
}

// socketOf finds the socket that conn is made of.
func socketOf(conn net.Conn) syscall.RawConn {
	for {
		switch c := conn.(type) {
		case syscall.Conn:
			if raw, err := c.SyscallConn(); err == nil {
				return raw
			}
			return nil
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// wireOf is the wire that a line's connection runs over; nil if there is none.
func wireOf(conn net.Conn) *wire {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	w, _ := conn.(*wire)
	return w
}

// Read implements io.Reader.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.records {
		w.follow(p[:n])
	}
	return n, err
}

// follow keeps track of where records end (RFC 8446, 5.1).
func (w *wire) follow(b []byte) {
	for len(b) > 0 {
		if w.had < len(w.head) {
			n := copy(w.head[w.had:], b)
			b, w.had = b[n:], w.had+n
			if w.had == len(w.head) {
				w.left = int(w.head[3])<<8 | int(w.head[4])
			}
		}
		n := min(len(b), w.left)
		b, w.left = b[n:], w.left-n
		if w.left == 0 && w.had == len(w.head) {
			w.had = 0
		}
	}
}

// atEnd reports whether every record that has begun came whole.
func (w *wire) atEnd() bool { return w.had == 0 }

// silent reports whether nothing has come over conn, which runs over w, that
// was not read: no byte, no part of a record, no end. If something has, or if
// that cannot be told, conn is of no more use, and may have lost a byte. It
// leaves conn without a read deadline.
func (w *wire) silent(conn net.Conn) bool {
	if w == nil || w.raw == nil {
		return false
	}
	if conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	var b [1]byte
	_, err := conn.Read(b[:]) // what the layers have buffered; the socket is not asked
	if !errors.Is(err, os.ErrDeadlineExceeded) || conn.SetReadDeadline(time.Time{}) != nil {
		return false
	}
	var peeked error
	err = w.raw.Control(func(fd uintptr) { peeked = peekNow(fd, b[:]) })
	return err == nil && peeked == unix.EAGAIN && w.atEnd()
}
