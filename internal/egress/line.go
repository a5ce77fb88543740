package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
)

// line is one HTTP/1.1 connection to an origin, for the requests of one
// connection of the desk, which come one after the other. http.Transport would
// hand each of them to two goroutines and back; a request that only looks and
// has no body needs neither. Everything else goes the Transport's way.
type line struct {
	mu   sync.Mutex // held from a request to the end of its answer
	conn net.Conn   // nil: none yet, or broken
	wire *wire      // that conn runs over
	kept bool       // conn has carried an answer before
	in   limited
	r    *bufio.Reader // of the exchange under way, as w
	w    *bufio.Writer
}

// maxAnswerHeader bounds the header of an answer.
const maxAnswerHeader = 1 << 20

// plainLooks are the methods that may be sent twice if a kept connection turns
// out to be closed (RFC 9110, 9.2.1).
var plainLooks = []string{http.MethodGet, http.MethodHead, http.MethodOptions}

// takes reports whether r is one for the line.
func (l *line) takes(r *http.Request) bool {
	return slices.Contains(plainLooks, r.Method) && (r.Body == nil || r.Body == http.NoBody) && r.Header.Get("Upgrade") == "" && l.mu.TryLock()
}

// errOtherProtocol says that the origin speaks HTTP/2.
var errOtherProtocol = errors.New("the origin speaks HTTP/2")

// roundTrip sends r, which takes has accepted, on the connection that is kept
// or on a new one of dial.
func (l *line) roundTrip(r *http.Request, dial func(context.Context) (net.Conn, error)) (*http.Response, error) {
	for {
		l.kept = l.conn != nil
		if !l.kept {
			conn, err := dial(r.Context())
			if err != nil {
				l.mu.Unlock()
				return nil, err
			}
			l.adopt(conn)
		}
		resp, err := l.exchange(r)
		if err == nil {
			return resp, nil
		}
		l.drop()
		if !l.kept || r.Context().Err() != nil || !l.unanswered(err) {
			l.mu.Unlock()
			return nil, err
		}
	}
}

func (l *line) adopt(conn net.Conn) {
	l.conn, l.wire, l.in = conn, wireOf(conn), limited{Conn: conn}
}

// lineReaders and lineWriters are lent to lines for one exchange each: those
// that wait hold none.
var (
	lineReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 8<<10) }}
	lineWriters = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 4<<10) }}
)

func (l *line) borrow() {
	l.r, l.w = lineReaders.Get().(*bufio.Reader), lineWriters.Get().(*bufio.Writer)
	l.r.Reset(&l.in)
	l.w.Reset(l.conn)
}

// giveBack is for an exchange that is over: nobody else may still use them.
func (l *line) giveBack() {
	l.r.Reset(nil)
	l.w.Reset(nil)
	lineReaders.Put(l.r)
	lineWriters.Put(l.w)
	l.r, l.w = nil, nil
}

func (l *line) drop() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// close ends a connection that nobody uses any more.
func (l *line) close() {
	if l.mu.TryLock() {
		l.drop()
		l.mu.Unlock()
	}
}

// errUnasked says that something came over a kept connection before the
// request had gone, which it therefore does not answer.
var errUnasked = errors.New("the server closed the connection, or spoke unasked")

// unanswered reports whether the request, which may be sent twice, broke off
// before anything of an answer was read: a kept connection was closed
// meanwhile, say (RFC 9110, 9.2.2).
func (l *line) unanswered(err error) bool {
	var op *net.OpError
	return !l.in.began && (errors.Is(err, errUnasked) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && !op.Timeout())
}

// exchange writes r and reads the header of its answer.
func (l *line) exchange(r *http.Request) (*http.Response, error) {
	conn := l.conn
	l.in.began = false
	l.borrow()
	stop := context.AfterFunc(r.Context(), func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	resp, err := l.ask(r)
	if err != nil {
		stop()
		if cause := context.Cause(r.Context()); cause != nil {
			err = cause
		}
		return nil, err
	}
	l.in.left = math.MaxInt64
	resp.Body = &answerBody{ReadCloser: resp.Body, line: l, stop: stop, keep: !resp.Close}
	if resp.ContentLength == 0 || r.Method == http.MethodHead {
		resp.Body.(*answerBody).end(true)
	}
	return resp, nil
}

func (l *line) ask(r *http.Request) (*http.Response, error) {
	if err := r.Write(l.w); err != nil {
		return nil, err
	}
	if l.kept && !l.wire.silent(l.conn) { // as late as can be: the last of r is not sent yet
		return nil, errUnasked
	}
	if err := r.Context().Err(); err != nil { // its deadline may be gone
		return nil, err
	}
	if err := l.w.Flush(); err != nil {
		return nil, err
	}
	for range 5 { // early hints and the like, which are not for the desk
		l.in.left = maxAnswerHeader
		resp, err := http.ReadResponse(l.r, r)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("the server switches to another protocol unasked")
		case resp.StatusCode >= 200:
			return resp, nil
		}
	}
	return nil, errors.New("the server has nothing but interim answers")
}

// limited bounds what is read of a header.
type limited struct {
	net.Conn
	left  int64
	began bool // something of the answer came
}

// Read implements io.Reader.
func (c *limited) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the header of the answer is larger than %d bytes", maxAnswerHeader)
	}
	n, err := c.Conn.Read(p)
	c.left -= int64(n)
	c.began = c.began || n > 0
	return n, err
}

// answerBody gives the line back when the answer has been read.
type answerBody struct {
	io.ReadCloser
	line  *line
	stop  func() bool
	keep  bool
	ended bool
}

// Read implements io.Reader.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err == io.EOF)
	}
	return n, err
}

// Close implements io.Closer. What was not read is not waited for.
func (b *answerBody) Close() error {
	b.end(false)
	return nil
}

// atHand reports whether reading on will not wait.
func (b *answerBody) atHand() bool { return b.ended || b.line.r.Buffered() > 0 }

func (b *answerBody) end(whole bool) {
	if b.ended {
		return
	}
	b.ended = true
	l := b.line
	if uncancelled := b.stop(); !whole || !b.keep || !uncancelled || l.r.Buffered() > 0 { // what came unasked answers nothing
		l.drop()
	}
	if whole {
		l.giveBack()
	}
	l.mu.Unlock()
}

// usualProtocols is what an origin may choose from.
var usualProtocols = []string{"h2", "http/1.1"}

// dialTLS opens a connection to the site's origin, verified if it is TLS, over
// which one of protocols is spoken.
func (s *site) dialTLS(ctx context.Context, protocols []string) (net.Conn, error) {
	raw, err := s.dial(ctx, "", "")
	if err != nil {
		return nil, errDial{err}
	}
	conn := newWire(raw, s.action.Protocol == carrel.ProtoTLS)
	if !conn.records {
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secure := tls.Client(conn, &tls.Config{RootCAs: s.door.cfg.Roots, ServerName: s.action.Host, MinVersion: tls.VersionTLS12, NextProtos: protocols,
		ClientSessionCache: s.door.sessions}) // verified when they began, for the same name and roots
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, errDial{err}
	}
	return secure, nil
}

// dialLine is dialTLS for the line. A connection on which the origin speaks
// HTTP/2 is left to the Transport, and so is every later request.
func (s *site) dialLine(ctx context.Context) (net.Conn, error) {
	conn, err := s.dialTLS(ctx, usualProtocols)
	if c, ok := conn.(*tls.Conn); ok && err == nil && c.ConnectionState().NegotiatedProtocol == "h2" {
		s.multiplexed.Store(true)
		s.spare <- conn
		return nil, errOtherProtocol
	}
	return conn, err
}

// dialPool is dialTLS for the Transport, which wants HTTP/1 where a request is
// to become a WebSocket: over HTTP/2 it cannot.
func (s *site) dialPool(ctx context.Context, _, _ string) (net.Conn, error) {
	if p, ok := ctx.Value(passedKey{}).(*passed); ok && p.upgrade {
		return s.dialTLS(ctx, usualProtocols[1:])
	}
	select {
	case conn := <-s.spare:
		return conn, nil
	default:
		return s.dialTLS(ctx, usualProtocols)
	}
}

// send sends r the cheapest way that it may go.
func (s *site) send(r *http.Request) (*http.Response, error) {
	if s.multiplexed.Load() || !s.line.takes(r) {
		return s.pool.RoundTrip(r)
	}
	resp, err := s.line.roundTrip(r, s.dialLine)
	if errors.Is(err, errOtherProtocol) {
		return s.pool.RoundTrip(r)
	}
	return resp, err
}
