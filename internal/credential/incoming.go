package credential

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Incoming prepares an answer of a destination before the agent gets it:
// wherever one of the destination's credentials is repeated, in the header,
// the body or the trailer, its placeholder is put instead. Lengths stay as
// they are, and nothing of a stream waits but what may be a credential's
// beginning. An answer that cannot be read is replaced by an error.
func (ls *Leases) Incoming(host string, port int, res *http.Response) {
	leases := ls.at(host, port)
	if len(leases) == 0 {
		return
	}
	hide := &texts{}
	for _, l := range leases {
		hide.list = append(hide.list, l.hide.Load().list...)
		if res.StatusCode == http.StatusUnauthorized {
			l.def.Source.doubt()
		}
	}
	if !ls.ownKeys(host, port) {
		res.Header.Del("Set-Cookie") // a session of the key's owner
	}
	hide.conceal(res)
}

// Conceal takes one key out of an answer, wherever it is repeated: for keys
// that have no placeholder.
func Conceal(res *http.Response, key string) {
	concealing(key).conceal(res)
}

// concealing puts stars in a key's place; nil for one too short to be found.
// What another key of its shape begins with as well is no beginning of this
// one.
func concealing(key string) *texts {
	if len(key) < minSecret {
		return nil
	}
	list := spellings(key, newPlaceholder(key, time.Now()))
	for i := range list {
		list[i].put = bytes.Repeat([]byte("*"), len(list[i].find))
	}
	return &texts{list}
}

// conceal replaces the texts in an answer's status, header, body and trailer.
func (t *texts) conceal(res *http.Response) {
	res.Status = t.inText(res.Status)
	t.header(res.Header)
	if !readable(res) {
		refuseBody(res)
		return
	}
	if res.Body == nil || res.Body == http.NoBody {
		return
	}
	s := &stream{Closer: res.Body, from: res.Body, texts: t}
	s.look = func(b []byte) error { t.replace(b); t.replaceCut(b, len(b)-t.begun(b)); return nil }
	s.last = func(b []byte) { t.replaceCut(b, len(b)) }
	s.end = func() error { t.header(res.Trailer); return nil }
	if duplex, ok := res.Body.(io.Writer); ok && res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &struct {
			*stream
			io.Writer
		}{s, duplex}
		return
	}
	res.Body = s
}

// ownKeys reports whether the agent may use accounts of its own there.
func (ls *Leases) ownKeys(host string, port int) bool {
	for _, b := range ls.cfg.Rules.at(host, port) {
		if b.Own {
			return true
		}
	}
	return false
}

// header replaces credentials in values, and drops fields named by one.
func (t *texts) header(h http.Header) {
	for name, values := range h {
		if t.inName(name) {
			delete(h, name)
			continue
		}
		for i, v := range values {
			values[i] = t.inText(v)
		}
	}
}

func (t *texts) inText(s string) string {
	b := []byte(s)
	if whole, cut := t.replace(b), t.replaceCut(b, len(b)); !whole && !cut {
		return s
	}
	return string(b)
}

// readable undoes the one compression that servers use unasked, and reports
// whether the body can be read.
func readable(res *http.Response) bool {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res.Header.Get("Sec-WebSocket-Extensions") == "" // frames would be compressed
	}
	if res.Body == nil || res.Body == http.NoBody {
		return true
	}
	if bodyless(res) { // HTTP/2 gives these an empty body of another kind
		res.Body.Close()
		res.Body = http.NoBody
		return true
	}
	switch strings.ToLower(strings.Join(res.Header.Values("Content-Encoding"), ",")) {
	case "", "identity":
		return true
	case "gzip", "x-gzip":
		if res.StatusCode == http.StatusPartialContent {
			return false // a part of a compressed text
		}
		res.Body = &unzipped{packed: res.Body}
		res.Header.Del("Content-Encoding")
		res.Header.Del("Content-Length")
		res.ContentLength, res.Uncompressed = -1, true
		return true
	}
	return false
}

// bodyless reports whether nothing but the header of an answer can come in.
func bodyless(res *http.Response) bool {
	head := res.Request != nil && res.Request.Method == http.MethodHead
	return head || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
}

// unzipped opens the archive when it is read, not when its header is awaited.
type unzipped struct {
	packed io.ReadCloser
	plain  *gzip.Reader
}

// Read implements io.Reader.
func (u *unzipped) Read(p []byte) (n int, err error) {
	if u.plain == nil {
		if u.plain, err = gzip.NewReader(u.packed); err != nil {
			u.plain = nil
			return 0, err
		}
	}
	return u.plain.Read(p)
}

// Close implements io.Closer.
func (u *unzipped) Close() error { return u.packed.Close() }

// unreadable has the form of the door's other refusals.
const unreadable = `{"rule":"credential/unread","reason":"` + whyUnreadable + `","next_steps":["` + unreadableHelp + `"],"type":"error",` +
	`"error":{"type":"api_error","message":"carrel: ` + whyUnreadable + ` (credential/unread); ` + unreadableHelp + `"}}` + "\n"

const (
	whyUnreadable  = "the answer is compressed in a way that Carrel does not read, and might repeat a credential"
	unreadableHelp = "the server was asked for no compression and compressed nevertheless: ask for it in another form, if it has one"
)

func refuseBody(res *http.Response) {
	if res.Body != nil {
		res.Body.Close()
	}
	res.StatusCode, res.Status = http.StatusBadGateway, "502 Bad Gateway"
	res.Header = http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "Content-Length": {strconv.Itoa(len(unreadable))}}
	res.Trailer, res.TransferEncoding = nil, nil
	res.Body, res.ContentLength = io.NopCloser(strings.NewReader(unreadable)), int64(len(unreadable))
}
