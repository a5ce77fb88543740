package credential

import (
	"bytes"
	"io"
	"strings"
)

// texts finds spellings in what streams by. It never changes and is safe for
// concurrent use; the nil pointer finds nothing.
type texts struct{ list []spelling }

// replace puts the other spelling wherever one of the list is, in place.
func (t *texts) replace(b []byte) (found bool) {
	if t == nil {
		return false
	}
	for _, s := range t.list {
		for at := 0; ; {
			i := bytes.Index(b[at:], s.find)
			if i < 0 {
				break
			}
			at += i
			copy(b[at:], s.put)
			at, found = at+len(s.put), true
		}
	}
	return found
}

// replaceCut does the same for spellings that were cut short, where they begin
// before limit: an answer that shows all but the last of a key shows the key.
// Whole ones must have been replaced.
func (t *texts) replaceCut(b []byte, limit int) (found bool) {
	if t == nil {
		return false
	}
	for _, s := range t.list {
		for at := 0; len(s.head) > 0; {
			i := bytes.Index(b[at:], s.head)
			if i < 0 || at+i >= limit {
				break
			}
			at += i
			n := common(b[at:], s.find)
			copy(b[at:min(at+n, limit)], s.put)
			at, found = at+n, true
		}
	}
	return found
}

// has reports whether a spelling of the list is in b.
func (t *texts) has(b []byte) bool {
	if t == nil {
		return false
	}
	for _, s := range t.list {
		if bytes.Contains(b, s.find) {
			return true
		}
	}
	return false
}

// inName reports whether a spelling of the list is in the name of a header,
// which has no upper and lower case of its own: what passes it on rewrites it,
// and a key is found again without.
func (t *texts) inName(name string) bool {
	if t == nil {
		return false
	}
	for _, s := range t.list {
		if len(s.find) <= len(name) && strings.Contains(strings.ToLower(name), strings.ToLower(string(s.find))) {
			return true
		}
	}
	return false
}

// begun is how many bytes at the end of b may be the beginning of a spelling.
// Only these have to wait for what follows, so that an event of a stream is
// not held back.
func (t *texts) begun(b []byte) int {
	longest := 0
	if t == nil {
		return 0
	}
	for _, s := range t.list {
		tail := b[max(0, len(b)-len(s.find)+1):]
		for len(tail) > longest {
			i := bytes.IndexByte(tail, s.find[0])
			if i < 0 {
				break
			}
			tail = tail[i:]
			if bytes.HasPrefix(s.find, tail) {
				longest = max(longest, len(tail))
				break
			}
			tail = tail[1:]
		}
	}
	return longest
}

// streamChunk is how much is read at once.
const streamChunk = 32 << 10

// stream hands on what it reads after look has seen it. look gets everything
// that is not handed on yet; what it may complete later waits.
type stream struct {
	io.Closer
	from  io.Reader
	texts *texts
	look  func([]byte) error // changes its argument in place, or ends the stream
	last  func([]byte)       // may be nil; sees what is left when no more follows
	end   func() error       // may be nil; called once before io.EOF is returned

	mem   []byte // what buf lies in
	buf   []byte // read and not handed on
	ready int    // bytes of buf that may be handed on
	err   error  // of from, told when buf is empty
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for s.ready == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.fill()
	}
	n := copy(p, s.buf[:s.ready])
	s.buf, s.ready = s.buf[n:], s.ready-n
	return n, nil
}

// fill reads once and lets look see what is there.
func (s *stream) fill() {
	held := len(s.buf)
	if len(s.mem) < held+streamChunk {
		s.mem = append(make([]byte, 0, held+streamChunk), s.buf...)[:held+streamChunk]
	}
	copy(s.mem, s.buf)
	n, err := s.from.Read(s.mem[held:])
	s.buf, s.err = s.mem[:held+n], err
	if lookErr := s.look(s.buf); lookErr != nil {
		s.buf, s.err = nil, lookErr
		return
	}
	s.ready = len(s.buf)
	if s.err != nil && s.last != nil {
		s.last(s.buf)
	}
	if s.err == nil {
		s.ready -= s.texts.begun(s.buf)
	} else if s.err == io.EOF && s.end != nil {
		if err := s.end(); err != nil {
			s.err = err
		}
		s.end = nil
	}
}
