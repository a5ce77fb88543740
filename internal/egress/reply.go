package egress

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reply writes the answer to one HTTP/1.1 request without a body. It
// implements http.ResponseWriter, and what http.ResponseController asks for.
type reply struct {
	to       *bufio.Writer
	r        *http.Request
	header   http.Header
	begun    bool
	bodyless bool
	chunked  bool
	left     int64    // of the length that was said
	trailer  []string // that was announced
	last     bool     // the connection ends with it
}

// Header implements http.ResponseWriter.
func (a *reply) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter. Interim answers, which no client
// needs, are not passed on.
func (a *reply) WriteHeader(status int) {
	if a.begun || status < 200 {
		return
	}
	a.begun = true
	a.frame(status)
	fmt.Fprintf(a.to, "HTTP/1.1 %03d %s\r\n", status, http.StatusText(status))
	_ = a.header.Write(a.to) // an error stays with the writer
	_, _ = a.to.WriteString("\r\n")
}

// frame settles how the body ends.
func (a *reply) frame(status int) {
	h := a.header
	a.trailer = slices.Clone(h["Trailer"])
	a.last = a.r.Close || strings.EqualFold(h.Get("Connection"), "close")
	if a.last {
		h.Set("Connection", "close")
	}
	if h["Date"] == nil {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	length, err := strconv.ParseUint(h.Get("Content-Length"), 10, 63)
	switch a.bodyless = a.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified; {
	case status == http.StatusNoContent:
		h.Del("Content-Length")
	case a.bodyless:
	case err == nil:
		a.left = int64(length)
	default:
		a.chunked = true
		h.Del("Content-Length")
		h.Set("Transfer-Encoding", "chunked")
	}
}

// Write implements http.ResponseWriter.
func (a *reply) Write(b []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case a.bodyless, len(b) == 0:
		return len(b), nil
	case a.chunked:
		_, _ = fmt.Fprintf(a.to, "%x\r\n", len(b))
		n, _ := a.to.Write(b)
		_, err := a.to.WriteString("\r\n")
		return n, err
	case int64(len(b)) > a.left:
		return 0, http.ErrContentLength
	}
	a.left -= int64(len(b))
	return a.to.Write(b)
}

// FlushError is what http.ResponseController calls.
func (a *reply) FlushError() error {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	return a.to.Flush()
}

// end completes the answer, and reports whether all of it was sent. If not,
// the connection must end, so that the client sees that.
func (a *reply) end() bool {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	if a.chunked {
		_, _ = a.to.WriteString("0\r\n")
		_ = a.trailers().Write(a.to)
		_, _ = a.to.WriteString("\r\n")
	}
	whole := a.to.Flush() == nil && a.left == 0
	a.last = a.last || !whole
	return whole
}

// trailers are those that were announced, and those that could not be.
func (a *reply) trailers() http.Header {
	out := make(http.Header)
	for _, names := range a.trailer {
		for name := range strings.SplitSeq(names, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values := a.header[name]; values != nil && !slices.Contains(neverTrailers, name) {
				out[name] = values
			}
		}
	}
	for name, values := range a.header {
		if late, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && !slices.Contains(neverTrailers, http.CanonicalHeaderKey(late)) {
			out[http.CanonicalHeaderKey(late)] = values
		}
	}
	return out
}

// neverTrailers would say after the body how it was framed.
var neverTrailers = []string{"Transfer-Encoding", "Content-Length", "Trailer", "Connection"}
