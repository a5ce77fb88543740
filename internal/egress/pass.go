package egress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// hopByHop are the headers of one connection only (RFC 9110, 7.6.1), the old
// ones among them.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// forwarded are headers by which proxies make themselves known. The desk's
// word on them is not passed on, and the door adds none.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

func drop(h http.Header, names []string) {
	for _, name := range names {
		delete(h, name)
	}
}

// dropHopByHop removes them, and what Connection names beside them.
func dropHopByHop(h http.Header) {
	for _, names := range h["Connection"] {
		for name := range strings.SplitSeq(names, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	drop(h, hopByHop)
}

// passLook does for a request that only looks what httputil.ReverseProxy does
// for others, without copies: r and its answer have no other reader.
func (s *site) passLook(ctx context.Context, p *passed, w *reply, r *http.Request) {
	trailers := httpguts.HeaderValuesContainsToken(r.Header["Te"], "trailers")
	dropHopByHop(r.Header)
	drop(r.Header, forwarded)
	if trailers {
		r.Header["Te"] = []string{"trailers"}
	}
	if r.Header["User-Agent"] == nil {
		r.Header["User-Agent"] = []string{""} // else the client would add its own
	}
	out := r.WithContext(ctx)
	to := *r.URL
	to.Scheme, to.Host = s.origin.Scheme, s.origin.Host
	out.URL, out.Host, out.Close, out.Body = &to, authority(s.action), false, nil
	resp, err := s.RoundTrip(out)
	if err != nil {
		p.err = err
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		p.err = errors.New("the server switches to another protocol unasked")
		return
	}
	p.status = resp.StatusCode
	if err := w.relay(resp); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// relay makes resp the answer.
func (a *reply) relay(resp *http.Response) error {
	dropHopByHop(resp.Header)
	a.header = resp.Header
	announced := make([]string, 0, len(resp.Trailer))
	for name := range resp.Trailer {
		announced = append(announced, name)
	}
	if len(announced) > 0 {
		slices.Sort(announced)
		a.header["Trailer"] = []string{strings.Join(announced, ", ")}
	}
	a.WriteHeader(resp.StatusCode)
	if b, ok := resp.Body.(*answerBody); !ok || !b.atHand() {
		if err := a.FlushError(); err != nil {
			return err
		}
	}
	if err := a.relayBody(resp.Body); err != nil {
		return err
	}
	for name, values := range resp.Trailer {
		if !slices.Contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		a.header[name] = values
	}
	return nil
}

// relayBody sends what comes as it comes; only the end of a body whose length
// is known waits for end.
func (a *reply) relayBody(body io.Reader) error {
	buf := copyBuffers{}.Get()
	defer copyBuffers{}.Put(buf)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := a.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err == nil && (a.chunked || a.left > 0) {
			err = a.FlushError()
		}
		if err != nil {
			return err
		}
	}
}
