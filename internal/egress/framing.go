package egress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Go's HTTP server reads what it is sent generously, and what it sends on is
// strict; so nothing is smuggled past it. But a request that two programs
// could read differently was made to be misread, and is refused: framing
// stands before the server and stops at the first such request.

// errFraming is wrapped by what framing refuses within a body.
var errFraming = errors.New("ambiguous request")

// refusedMethod is the request that the server sees in place of one that was
// refused, so that the refusal is answered in its turn.
const refusedMethod = "CARREL-REFUSED"

const refusedHead = refusedMethod + " / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n"

// framing reads an HTTP/1 stream. It hands heads on when they are whole and
// were checked, and bodies as they come. One goroutine reads at a time.
type framing struct {
	in      io.Reader
	held    []byte // read and not yet checked
	looked  int    // bytes of held that belong to a head and were looked at
	ready   []byte // checked
	left    int64  // bytes of the body, or of the chunk, that follow
	chunked chunkState
	trailer int // bytes of the trailer so far
	failed  error
	why     atomic.Pointer[string] // why the stream ends with refusedHead
	raw     atomic.Bool            // after a switch of protocols nothing is checked
}

type chunkState int

const (
	noChunks chunkState = iota
	chunkSize
	chunkEnd
	chunkTrailer
)

// Read implements io.Reader.
func (f *framing) Read(p []byte) (int, error) {
	for {
		switch {
		case len(f.ready) > 0:
			n := copy(p, f.ready)
			f.ready = f.ready[n:]
			return n, nil
		case f.failed != nil:
			return 0, f.failed
		case f.raw.Load(), f.left > 0:
			return f.pass(p)
		}
		complete, err := f.step()
		switch {
		case err != nil && f.chunked == noChunks: // of a head: answered in its turn
			f.refuse(err)
		case err != nil:
			f.failed = fmt.Errorf("%w: %w", errFraming, err)
		case !complete:
			if err := f.more(); err != nil {
				return 0, err
			}
		}
	}
}

// refuse ends the stream with the request that stands for a refused one.
func (f *framing) refuse(err error) {
	why := err.Error()
	f.why.Store(&why)
	f.ready, f.held, f.failed = []byte(refusedHead), nil, io.EOF
}

// pass hands on what needs no look.
func (f *framing) pass(p []byte) (n int, err error) {
	raw := f.raw.Load()
	if !raw && int64(len(p)) > f.left {
		p = p[:f.left]
	}
	if len(f.held) > 0 {
		n = copy(p, f.held)
		f.held = f.held[n:]
	} else {
		n, err = f.in.Read(p)
	}
	if !raw {
		f.left -= int64(n)
	}
	return n, err
}

// more reads on.
func (f *framing) more() error {
	if cap(f.held)-len(f.held) < 1024 {
		f.held = slices.Grow(f.held, 4096)
	}
	n, err := f.in.Read(f.held[len(f.held):cap(f.held)])
	f.held = f.held[:len(f.held)+n]
	if n > 0 {
		return nil
	}
	if err == io.EOF && len(f.held) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// step checks the next piece of what is held: a head, or a line between
// chunks. complete is false if more must be read first.
func (f *framing) step() (complete bool, err error) {
	if f.chunked == noChunks {
		return f.head()
	}
	line, ok, err := f.line()
	if !ok || err != nil {
		return false, err
	}
	switch f.chunked {
	case chunkSize:
		return true, f.chunk(line)
	case chunkEnd:
		if line != "" {
			return true, errors.New("a chunk is longer than it says")
		}
		f.chunked = chunkSize
	case chunkTrailer:
		return true, f.trailerLine(line)
	}
	return true, nil
}

// line takes one line between chunks and makes it ready.
func (f *framing) line() (line string, ok bool, err error) {
	const longest = 4096
	end := bytes.IndexByte(f.held, '\n')
	if end < 0 {
		if len(f.held) > longest {
			err = errors.New("a line between chunks is too long")
		}
		return "", false, err
	}
	if end == 0 || f.held[end-1] != '\r' || bytes.IndexByte(f.held[:end-1], '\r') >= 0 {
		return "", false, errors.New("a line does not end with CR LF")
	}
	f.ready, f.held = f.held[:end+1:end+1], f.held[end+1:]
	return string(f.ready[:end-1]), true, nil
}

// chunk reads the line before a chunk: hexadecimal digits and nothing else.
func (f *framing) chunk(line string) error {
	size, err := strconv.ParseUint(line, 16, 63)
	if err != nil || len(line) > 16 || strings.ContainsAny(line, "_+") {
		return errors.New("the size of a chunk is not a plain hexadecimal number")
	}
	f.left, f.chunked = int64(size), chunkEnd
	if size == 0 {
		f.chunked, f.trailer = chunkTrailer, 0
	}
	return nil
}

func (f *framing) trailerLine(line string) error {
	if line == "" {
		f.chunked = noChunks
		return nil
	}
	if f.trailer += len(line); f.trailer > 8192 {
		return errors.New("the trailer is too long")
	}
	name, _, err := headerLine(line)
	if err == nil && name != "" {
		err = fmt.Errorf("%s in a trailer", name)
	}
	return err
}

// head checks a whole head and learns how its body is framed.
func (f *framing) head() (complete bool, err error) {
	from := max(0, f.looked-3)
	if err := checkLineEnds(f.held, from); err != nil {
		return false, err
	}
	end := bytes.Index(f.held[from:], []byte("\r\n\r\n"))
	if end < 0 {
		if f.looked = len(f.held); f.looked > maxHeader {
			err = fmt.Errorf("the header is larger than %d bytes", maxHeader)
		}
		return false, err
	}
	end += from
	length, chunked, err := checkHead(string(f.held[:end]))
	if err != nil {
		return false, err
	}
	if f.left = length; chunked {
		f.chunked = chunkSize
	}
	f.ready, f.held, f.looked = f.held[:end+4:end+4], f.held[end+4:], 0
	return true, nil
}

// checkLineEnds wants CR and LF together or not at all in a head, and no other
// control character but tabs. What comes after the head is not looked at.
func checkLineEnds(b []byte, from int) error {
	for i := from; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\n' && (i == 0 || b[i-1] != '\r'), c == '\r' && i+1 < len(b) && b[i+1] != '\n':
			return errors.New("a line of the header does not end with CR LF")
		case c == '\n' && i >= 3 && b[i-2] == '\n':
			return nil // the empty line
		case c < ' ' && c != '\r' && c != '\n' && c != '\t', c == 0x7f:
			return errors.New("a control character in the header")
		}
	}
	return nil
}

// checkHead wants one host and one way to say how long the body is.
func checkHead(head string) (length int64, chunked bool, err error) {
	first, rest, more := strings.Cut(head, "\r\n")
	old := strings.HasSuffix(first, " HTTP/1.0")
	if !old && !strings.HasSuffix(first, " HTTP/1.1") || strings.Count(first, " ") != 2 || strings.Contains(first, "\t") {
		return 0, false, errors.New("the first line is not a method, a target and a version")
	}
	var hosts, lengths int
	var host string
	for more {
		var line string
		line, rest, more = strings.Cut(rest, "\r\n")
		name, value, err := headerLine(line)
		if err != nil {
			return 0, false, err
		}
		switch name {
		case "host":
			hosts++
			host = value
		case "content-length":
			lengths++
			if length, err = strconv.ParseInt(value, 10, 64); err != nil || strings.Trim(value, "0123456789") != "" {
				return 0, false, errors.New("the content length is not a plain number")
			}
		case "transfer-encoding":
			lengths++
			if chunked = strings.EqualFold(value, "chunked"); !chunked || old {
				return 0, false, errors.New("a transfer encoding other than chunked, or in HTTP/1.0")
			}
		}
	}
	switch {
	case hosts > 1, hosts == 0 && !old:
		return 0, false, errors.New("not exactly one Host")
	case !agrees(first, host):
		return 0, false, errors.New("the first line and Host name different hosts")
	case lengths > 1:
		return 0, false, errors.New("the length of the body is said more than once")
	}
	return length, chunked, nil
}

// agrees reports whether a first line that names a host itself names this one.
func agrees(first, host string) bool {
	_, target, _ := strings.Cut(first, " ")
	_, rest, absolute := strings.Cut(target, "://")
	if !absolute || strings.HasPrefix(target, "/") {
		return true
	}
	if end := strings.IndexAny(rest, "/?# "); end >= 0 {
		rest = rest[:end]
	}
	return strings.EqualFold(rest, host)
}

// framingNames are the headers that say where a request goes and where it
// ends.
var framingNames = []string{"host", "content-length", "transfer-encoding"}

// headerLine splits a line. Its name is returned if it is one of framingNames,
// else "". Names that some servers take for one of those are refused.
func headerLine(line string) (framingName, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if line != "" && (line[0] == ' ' || line[0] == '\t') {
		return "", "", errors.New("a folded header line")
	}
	if !ok || name == "" || strings.ContainsFunc(name, notInToken) {
		return "", "", errors.New("a header line is not NAME: VALUE")
	}
	for _, known := range framingNames {
		switch {
		case len(name) != len(known):
		case strings.EqualFold(name, known):
			return known, strings.Trim(value, " \t"), nil
		case strings.EqualFold(strings.ReplaceAll(name, "_", "-"), known):
			return "", "", errors.New("a header that some servers take for " + known)
		}
	}
	return "", "", nil
}

// checkFramingNames is for requests that framing has not read: those of HTTP/2,
// which say by other means where they end, and go on as HTTP/1 perhaps.
func checkFramingNames(h http.Header) error {
	if len(h["Content-Length"]) > 1 {
		return errors.New("the length of the body is said more than once")
	}
	for name := range h {
		if _, _, err := headerLine(name + ":"); err != nil {
			return err
		}
	}
	return nil
}

func notInToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}
