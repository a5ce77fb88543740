package egress

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	recordHeader  = 5
	maxRecord     = 16 << 10
	maxHello      = 64 << 10 // of all records; clients send 0.2 to 2 KiB
	typeHandshake = 22
	typeHello     = 1
	extensionSNI  = 0
	extensionECH  = 0xfe0d
)

// hello is what the door reads of a TLS ClientHello. It parses nothing else
// and never takes part in the handshake.
type hello struct {
	raw []byte // as received, to be passed on
	sni string // canonical, or "" if there is none
	ech bool
}

// errNotTLS is returned for a stream that does not begin with a ClientHello.
var errNotTLS = errors.New("it does not begin with a TLS ClientHello")

// readHello reads exactly the records that hold the ClientHello. It stops at
// the first byte that cannot belong to one. On an error the result holds what
// was read.
func readHello(r io.Reader) (h hello, err error) {
	var message []byte
	need := 4 // of the handshake message, its own header included
	for len(message) < need {
		if message, err = h.readRecord(r, message); err != nil {
			return h, err
		}
		if len(message) < 4 {
			continue
		}
		if message[0] != typeHello {
			return h, errNotTLS
		}
		need = 4 + int(message[1])<<16 + int(message[2])<<8 + int(message[3])
		if need > maxHello {
			return h, fmt.Errorf("its ClientHello of %d bytes is too large", need)
		}
	}
	if len(message) > need {
		return h, errors.New("something follows its ClientHello in the same record")
	}
	return h, h.parse(message[4:])
}

// readRecord appends one record's content to message.
func (h *hello) readRecord(r io.Reader, message []byte) ([]byte, error) {
	start := len(h.raw)
	h.raw = append(h.raw, make([]byte, recordHeader)...)
	n, err := io.ReadFull(r, h.raw[start:])
	header := h.raw[start : start+n]
	if n > 0 && header[0] != typeHandshake || n > 1 && header[1] != 3 {
		return message, errNotTLS
	}
	if err != nil {
		return message, err
	}
	length := int(header[3])<<8 | int(header[4])
	if length == 0 || length > maxRecord || len(h.raw)+length > maxHello {
		return message, errNotTLS
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return message, err
	}
	h.raw = append(h.raw, body...)
	return append(message, body...), nil
}

// parse walks the ClientHello (RFC 8446, 4.1.2) to its extensions.
func (h *hello) parse(body []byte) error {
	s := span(body)
	ok := s.skip(2 + 32) // version, random
	for _, lengthBytes := range []int{1, 2, 1} {
		_, fine := s.vector(lengthBytes) // session id, cipher suites, compression
		ok = ok && fine
	}
	if !ok {
		return errors.New("its ClientHello cannot be parsed")
	}
	if len(s) == 0 {
		return nil
	}
	list, ok := s.vector(2)
	if !ok || len(s) != 0 {
		return errors.New("its ClientHello cannot be parsed")
	}
	return h.extensions(list)
}

// extensions refuses a list in which the server's name could be read in two
// ways.
func (h *hello) extensions(list span) error {
	seen := make(map[int]bool)
	for len(list) > 0 {
		kind, ok := list.number(2)
		data, fine := list.vector(2)
		if !ok || !fine || seen[kind] {
			return errors.New("the extensions of its ClientHello cannot be parsed")
		}
		seen[kind] = true
		switch kind {
		case extensionECH:
			h.ech = true
		case extensionSNI:
			if err := h.serverName(data); err != nil {
				return err
			}
		}
	}
	return nil
}

// serverName accepts a list of exactly one host name (RFC 6066, 3).
func (h *hello) serverName(data span) error {
	list, ok := data.vector(2)
	kind, okKind := list.number(1)
	name, okName := list.vector(2)
	if !ok || !okKind || !okName || kind != 0 || len(data) != 0 || len(list) != 0 {
		return errors.New("the server name in its ClientHello cannot be parsed")
	}
	if strings.HasSuffix(string(name), ".") {
		return errors.New("the server name in its ClientHello ends with a dot")
	}
	host, err := CanonicalHost(string(name))
	if err != nil {
		return fmt.Errorf("the server name in its ClientHello: %w", err)
	}
	h.sni = host
	return nil
}

// span is a cursor over untrusted bytes.
type span []byte

func (s *span) skip(n int) bool {
	if len(*s) < n {
		return false
	}
	*s = (*s)[n:]
	return true
}

// number reads an integer of n bytes.
func (s *span) number(n int) (v int, ok bool) {
	if len(*s) < n {
		return 0, false
	}
	for _, b := range (*s)[:n] {
		v = v<<8 | int(b)
	}
	return v, s.skip(n)
}

// vector reads a length of n bytes and as many bytes.
func (s *span) vector(n int) (span, bool) {
	length, ok := s.number(n)
	if !ok || len(*s) < length {
		return nil, false
	}
	out := (*s)[:length]
	return out, s.skip(length)
}
