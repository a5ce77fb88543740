package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// LogServeOptions are the flags of log serve.
type LogServeOptions struct {
	Listen string // host:port
	Copy   string // the directory of a copy; "" for the log of this user
}

// LogServe lets monitors read the log over HTTP until ctx ends. That it does is
// recorded; a copy is served as it is, and there is nowhere to record it.
func (e *Records) LogServe(ctx context.Context, opts LogServeOptions) error {
	if opts.Copy != "" {
		return e.serveCopy(ctx, opts)
	}
	key, err := e.logKey()
	if err != nil {
		return err
	}
	if c, err := audit.PublishTiles(ctx, e.state("log"), key); err != nil {
		return readOnlyLog(err)
	} else if c.Size == 0 {
		return errors.New("the log is empty")
	}
	a := carrel.Action{Operation: carrel.OpPolicy, Subject: "log:serve:" + opts.Listen, Reason: "monitors read the log"}
	return e.operate(ctx, a, func(ctx context.Context, _ *audit.Log) (carrel.Outcome, error) {
		return carrel.Outcome{}, e.serveHTTP(ctx, opts.Listen, http.HandlerFunc(e.serveLog), "key "+key)
	})
}

func readOnlyLog(err error) error {
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		return &hintError{fmt.Errorf("serving the log is recorded in it, and it cannot be written to: %w", err), "a copy is served by its directory: carrel log serve DIR"}
	}
	return err
}

// serveCopy serves a copy of a log, which has no key of its owner's beside it
// and takes no records. The log of this user has only the road above, unless
// nobody can write to it.
func (e *Records) serveCopy(ctx context.Context, opts LogServeOptions) error {
	dir := opts.Copy
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(e.host.Cwd, dir)
	}
	if e.isOwnLog(dir) {
		return &hintError{fmt.Errorf("%s is the log of this user, and serving that is recorded", terminal.Escape(opts.Copy)), "carrel log serve, without a directory"}
	}
	handler, err := audit.CopyHandler(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &hintError{fmt.Errorf("%s holds nothing that was published: %w", terminal.Escape(opts.Copy), err), "copy the log's directory, or its tiles, after: carrel log checkpoint"}
	}
	if err != nil {
		return err
	}
	return e.serveHTTP(ctx, opts.Listen, handler, "carrel: this copy is served as it is: no log records that, and nothing newer is published")
}

// isOwnLog says whether dir is, or lies in, the log that this user's Carrel
// writes to.
func (e *Records) isOwnLog(dir string) bool {
	own, err := os.Stat(e.state("log"))
	if err != nil {
		return false
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for at := real; ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && os.SameFile(info, own) {
			break
		}
		if at == filepath.Dir(at) {
			return false
		}
	}
	f, err := os.OpenFile(e.state("log", "lock"), os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	return !errors.Is(err, syscall.EROFS) && !errors.Is(err, fs.ErrPermission)
}

// serveHTTP serves until ctx ends. It says note once it can be reached.
func (e *Records) serveHTTP(ctx context.Context, address string, handler http.Handler, note string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("serving the log: %w", err)
	}
	server := &http.Server{
		Handler:           forThisMachine(listener.Addr(), handler),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	fmt.Fprintln(e.host.Stderr, note)
	fmt.Fprintf(e.host.Stdout, "http://%s/checkpoint\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the log: %w", err)
	}
	return nil
}

// forThisMachine answers, on a loopback address, only what is asked of this
// machine: else a page of the web, whose name its owner lets lead to loopback,
// would read the log through the user's browser.
func forThisMachine(addr net.Addr, next http.Handler) http.Handler {
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		host := req.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this log is served to its own machine: ask for 127.0.0.1, or have it served on another address (--listen)", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// serveLog answers one request with the key that is in force then.
func (e *Records) serveLog(w http.ResponseWriter, req *http.Request) {
	key, err := e.logKey()
	if err != nil {
		http.Error(w, "the log has no key", http.StatusInternalServerError)
		return
	}
	audit.Handler(e.state("log"), key).ServeHTTP(w, req)
}
