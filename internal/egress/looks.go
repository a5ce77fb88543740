package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	// watchAfter is how long an answer may take before it is looked whether
	// who asked is still there.
	watchAfter = 20 * time.Millisecond
	// lingerTime is for the last answer to arrive before its connection is
	// closed, with what is still unread.
	lingerTime = 500 * time.Millisecond
	// deadlineSlack is by how much a read deadline may be off.
	deadlineSlack = time.Second
)

// looker answers the requests of one HTTP/1.1 connection that only look, one
// after the other: http.Server would have a second goroutine watch the
// connection during each. Whatever else comes is left to the server, whole,
// and so is all that follows.
type looker struct {
	web  *web
	conn *visitConn
	gone context.CancelFunc // who asks has gone

	head   bytes.Reader
	out    *bufio.Writer
	until  time.Time // the read deadline that is set
	linger bool      // an answer was the last one

	timer    *time.Timer   // of the watch
	stopping atomic.Bool   // the watch is to end
	ended    chan struct{} // has one token when a watch that began has ended
}

// looks reports whether the connection is over; if not, the server goes on.
func (w *web) looks(ctx context.Context, c *visitConn) (over bool) {
	ctx = context.WithValue(context.WithValue(ctx, visitKey{}, c), http.ServerContextKey, w.http1.server)
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	l := newLooker(w, c, gone)
	for wait := helloTimeout; ; wait = idleTimeout {
		r, err := l.next(ctx, wait)
		switch {
		case err == nil && r == nil:
			return false
		case err != nil, !l.answer(r):
			l.close()
			return true
		}
	}
}

func newLooker(w *web, c *visitConn, gone context.CancelFunc) *looker {
	return &looker{web: w, conn: c, gone: gone, out: bufio.NewWriterSize(c, 4<<10), ended: make(chan struct{}, 1)}
}

// headReaders are lent for the parsing of one head.
var headReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}

// next waits for a request and takes it. It takes nothing and returns nil if
// that is one for the server.
func (l *looker) next(ctx context.Context, wait time.Duration) (*http.Request, error) {
	f := &l.conn.framing
	if until := time.Now().Add(wait); len(f.held) == 0 && until.Sub(l.until).Abs() > deadlineSlack {
		if err := l.conn.SetReadDeadline(until); err != nil {
			return nil, err
		}
		l.until = until
	}
	head, err := f.nextHead()
	if err != nil || !bytes.HasPrefix(head, []byte("GET ")) && !bytes.HasPrefix(head, []byte("HEAD ")) {
		return nil, err
	}
	l.head.Reset(head)
	in := headReaders.Get().(*bufio.Reader)
	in.Reset(&l.head)
	r, err := http.ReadRequest(in)
	in.Reset(nil)
	headReaders.Put(in) // there is no body that would go on with it
	if err != nil || !onlyLooks(r) {
		return nil, nil
	}
	f.ready = nil
	l.conn.visit.out.Add(int64(len(head)))
	r.RemoteAddr = l.conn.RemoteAddr().String()
	return r.WithContext(ctx), nil
}

// onlyLooks reports whether r has nothing to it that needs the server.
func onlyLooks(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) && r.Body == http.NoBody && r.Header["Upgrade"] == nil && r.Header["Expect"] == nil &&
		!httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}

// nextHead reads on where a head begins, and returns it if it came whole and
// nothing belongs to it. It takes nothing of what it returns, and where it
// returns nil, Read goes on as if it had not been called.
func (f *framing) nextHead() ([]byte, error) {
	if len(f.held) == 0 {
		if err := f.more(); err != nil {
			return nil, err
		}
	}
	complete, err := f.step()
	if err != nil || !complete || f.left > 0 || f.chunked != noChunks {
		return nil, nil
	}
	return f.ready, nil
}

// answer answers r and reports whether another request may follow. Whatever an
// answer panics with ends this connection and no other, as in http.Server.
func (l *looker) answer(r *http.Request) (goOn bool) {
	w := &reply{to: l.out, r: r, header: make(http.Header)}
	if len(l.conn.framing.held) == 0 { // else the next request is here already
		l.watch()
		defer l.unwatch()
	}
	defer func() {
		if recover() != nil {
			goOn = false
		}
	}()
	v := l.conn.visit
	if b := checkRequest(v.action, r); b != nil {
		l.web.door.refuseRequest(v.action, w, r, b)
	} else {
		v.handler.ServeHTTP(w, r)
	}
	l.linger = w.end() && w.last
	return !w.last
}

// watch looks, after a while, whether who asked is still there, until unwatch.
// What it reads meanwhile is kept.
func (l *looker) watch() {
	l.stopping.Store(false)
	if l.timer == nil {
		l.timer = time.AfterFunc(watchAfter, l.look)
		return
	}
	l.timer.Reset(watchAfter)
}

func (l *looker) look() {
	defer func() { l.ended <- struct{}{} }()
	if err := l.conn.SetReadDeadline(time.Time{}); err != nil || l.stopping.Load() { // the wait for a request may be over
		return
	}
	var timeout net.Error
	if err := l.conn.framing.more(); err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
		l.gone()
	}
}

func (l *looker) unwatch() {
	if l.timer.Stop() {
		return
	}
	l.stopping.Store(true)
	_ = l.conn.SetReadDeadline(time.Unix(1, 0)) // one that is closed ends the watch as well
	l.until = time.Time{}
	<-l.ended
}

// close closes the connection, after a last answer so that it arrives.
func (l *looker) close() {
	if half, ok := l.conn.Conn.(interface{ CloseWrite() error }); ok && l.linger && half.CloseWrite() == nil {
		_ = l.conn.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, l.conn.Conn, maxDrained)
	}
	_ = l.conn.Close()
}
