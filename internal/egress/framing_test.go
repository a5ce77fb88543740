package egress

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

const post = "POST /x HTTP/1.1\r\nHost: ok.test\r\n"

// What two programs could read differently, and what the door makes of it.
var ambiguous = map[string]string{
	"length and chunks":      post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunks and length":      post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
	"the same length twice":  post + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
	"two lengths":            post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	"a list of lengths":      post + "Content-Length: 2, 2\r\n\r\nab",
	"a signed length":        post + "Content-Length: +2\r\n\r\nab",
	"an empty length":        post + "Content-Length: \r\n\r\n",
	"a length in disguise":   post + "Content_Length: 2\r\n\r\nab",
	"chunks twice":           post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunks in disguise":     post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"chunks with a tab":      post + "Transfer-Encoding:\tchunked\v\r\n\r\n0\r\n\r\n",
	"identity":               post + "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nab",
	"chunks in HTTP/1.0":     "POST /x HTTP/1.0\r\nHost: ok.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"a folded header":        post + "X-A: b\r\n c\r\nContent-Length: 2\r\n\r\nab",
	"a folded host":          "GET /x HTTP/1.1\r\nHost: ok.test\r\n evil.test\r\n\r\n",
	"two hosts":              "GET /x HTTP/1.1\r\nHost: ok.test\r\nHost: ok.test\r\n\r\n",
	"no host":                "GET /x HTTP/1.1\r\n\r\n",
	"space before the colon": post + "Content-Length : 2\r\n\r\nab",
	"bare line feeds":        "GET /x HTTP/1.1\nHost: ok.test\n\n",
	"one bare line feed":     "GET /x HTTP/1.1\r\nHost: ok.test\nX: y\r\n\r\n",
	"a bare return":          post + "X-A: b\rContent-Length: 2\r\n\r\nab",
	"a zero byte":            post + "X-A: b\x00\r\n\r\n",
	"an empty first line":    "\r\nGET /x HTTP/1.1\r\nHost: ok.test\r\n\r\n",
	"a tab in the first":     "GET\t/x HTTP/1.1\r\nHost: ok.test\r\n\r\n",
	"two spaces":             "GET  /x HTTP/1.1\r\nHost: ok.test\r\n\r\n",
	"HTTP/1.2":               "GET /x HTTP/1.2\r\nHost: ok.test\r\n\r\n",
	"a header without name":  post + ": b\r\n\r\n",
	"no colon":               post + "X-A\r\n\r\n",
}

// The same within a body: the request was handed on, and ends broken.
var ambiguousBodies = map[string]string{
	"a chunk without digits":  "\r\nab\r\n0\r\n\r\n",
	"a chunk in other digits": "0x2\r\nab\r\n0\r\n\r\n",
	"a chunk with a sign":     "+2\r\nab\r\n0\r\n\r\n",
	"a chunk extension":       "2;a=b\r\nab\r\n0\r\n\r\n",
	"a chunk after a space":   " 2\r\nab\r\n0\r\n\r\n",
	"a huge chunk":            "ffffffffffffffff\r\nab\r\n0\r\n\r\n",
	"a chunk that is longer":  "2\r\nabc\r\n0\r\n\r\n",
	"a bare line feed":        "2\nab\r\n0\r\n\r\n",
	"a bare return":           "2\r\rab\r\n0\r\n\r\n",
	"a host in the trailer":   "2\r\nab\r\n0\r\nHost: evil.test\r\n\r\n",
	"a length in the trailer": "2\r\nab\r\n0\r\nContent-Length: 2\r\n\r\n",
}

func TestAttackAmbiguousFraming(t *testing.T) {
	for name, raw := range ambiguous {
		got, err := io.ReadAll(&framing{in: strings.NewReader(raw + "GET /smuggled HTTP/1.1\r\nHost: ok.test\r\n\r\n")})
		if string(got) != refusedHead || err != nil {
			t.Errorf("%s: passed as %q, %v", name, got, err)
		}
	}
	for name, body := range ambiguousBodies {
		f := &framing{in: strings.NewReader(post + "Transfer-Encoding: chunked\r\n\r\n" + body + "GET /smuggled HTTP/1.1\r\nHost: ok.test\r\n\r\n")}
		if got, err := io.ReadAll(f); !errors.Is(err, errFraming) || bytes.Contains(got, []byte("smuggled")) {
			t.Errorf("%s: passed as %q, %v", name, got, err)
		}
	}
}

// What is plain passes byte for byte, however it arrives.
func TestPlainFramingPasses(t *testing.T) {
	const get = "GET /x?y HTTP/1.1\r\nHost: ok.test\r\nX-Empty:\r\nAccept: */*\r\n\r\n"
	stream := get + post + "Content-Length: 5\r\n\r\nab\ncd" + get + post + "transfer-encoding: Chunked\r\n\r\n" +
		"5\r\nab\ncd\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n" + get + post + "Content-Length: 0\r\n\r\n" + "GET / HTTP/1.0\r\n\r\n"
	for name, in := range map[string]io.Reader{
		"at once": strings.NewReader(stream), "by bytes": iotest.OneByteReader(strings.NewReader(stream)), "by halves": iotest.HalfReader(strings.NewReader(stream)),
	} {
		got, err := io.ReadAll(&framing{in: in})
		if string(got) != stream || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	f := &framing{in: strings.NewReader(get + "\x81\x05frame")}
	head := make([]byte, len(get))
	io.ReadFull(f, head)
	f.raw.Store(true)
	if rest, err := io.ReadAll(f); string(rest) != "\x81\x05frame" || err != nil {
		t.Errorf("after a switch of protocols: %q, %v", rest, err)
	}
}

// A header that comes byte by byte costs no more than its size.
func TestAttackSlowHeaderIsBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(post), iotest.OneByteReader(strings.NewReader(strings.Repeat("X-A: b\r\n", maxHeader))))
	got, err := io.ReadAll(&framing{in: endless})
	if string(got) != refusedHead || err != nil {
		t.Errorf("%d bytes passed, %v", len(got), err)
	}
}

// FuzzFramingAgreesWithGo holds that Go's parser finds the very requests that
// framing found: neither hides one from the other.
func FuzzFramingAgreesWithGo(f *testing.F) {
	for _, raw := range ambiguous {
		f.Add([]byte(raw))
	}
	for _, body := range ambiguousBodies {
		f.Add([]byte(post + "Transfer-Encoding: chunked\r\n\r\n" + body))
	}
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n" + post + "Content-Length: 3\r\n\r\nabc" + post + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		own := &framing{in: bytes.NewReader(raw)}
		passed, ownErr := io.ReadAll(own)
		plain := passed
		if own.why.Load() != nil {
			plain = passed[:len(passed)-len(refusedHead)]
		}
		if !bytes.HasPrefix(raw, plain) {
			t.Fatalf("%q passed as %q", raw, plain)
		}
		var heads []int // where framing would see a request begin
		for left := plain; len(left) > 0; {
			one := &framing{in: bytes.NewReader(left)}
			size, ok := firstRequest(one)
			if heads = append(heads, len(plain)-len(left)); !ok { // the last one, broken or cut
				break
			}
			left = left[size:]
		}
		in := bytes.NewReader(plain)
		buffered := bufio.NewReader(in)
		for i := 0; ; i++ {
			at := len(plain) - in.Len() - buffered.Buffered()
			r, err := http.ReadRequest(buffered)
			if err != nil {
				return // Go refuses it too: nothing is sent on
			}
			if i >= len(heads) || heads[i] != at {
				if ownErr != nil {
					return // the last body is broken
				}
				t.Fatalf("%q: Go reads request %d at %d, framing has them at %v", plain, i, at, heads)
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
		}
	})
}

// firstRequest returns how long the first request of the stream is.
func firstRequest(f *framing) (size int, ok bool) {
	var b [1]byte
	for {
		n, err := f.Read(b[:])
		if size += n; err != nil {
			return size, false
		}
		if size >= 4 && len(f.ready) == 0 && f.left == 0 && f.chunked == noChunks {
			return size, f.why.Load() == nil
		}
	}
}

func TestCanonicalTarget(t *testing.T) {
	for raw, want := range map[string]string{
		"/": "/", "/a/b": "/a/b", "/a/b/": "/a/b/", "/%61": "/a", "/%7Ea": "/~a", "/~a": "/~a", "/a%2fb": "/a%2Fb", "/@acme%2Fpkg": "/@acme%2Fpkg",
		"/a%20b": "/a%20b", "/caf%c3%a9": "/caf%C3%A9", "/a;x=1": "/a;x=1", "/a+b": "/a+b", "/.well-known/x": "/.well-known/x", "/...": "/...",
		"/a?b=c&d": "/a?b=c&d", "/a?": "/a?", "/a?b=%2e%2e/": "/a?b=%2e%2e/", "/a?b?c": "/a?b?c", "*": "*", "/a:b@c": "/a:b@c", "/100%25": "/100%25",
	} {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		got, err := canonicalTarget(u)
		if err != nil || got.String() != want {
			t.Errorf("%s is %q, %v; want %q", raw, got, err, want)
		}
		if raw == "*" {
			continue
		}
		got.apply(u)
		if again := u.RequestURI(); again != want {
			t.Errorf("%s is sent as %q, decided as %q", raw, again, want)
		}
	}
	for _, raw := range []string{
		"/..", "/.", "/a/../b", "/a/./b", "/a/%2e%2e/b", "/a/%2E/b", "/a/.%2e", "/a/%252e%252e/b", "/a/%25252e%25252e", "/a/..%2fb", "/a%2f..%2fb", "/a/..;x/b", "/a/%2e;",
		"//a", "/a//b", "/a//", `/a\b`, "/a%5cb", "/a%5C..%5Cb", "/%c0%ae%c0%ae/", "/%ff", "/a%00b", "/a%0d%0ab", "/a%7f", "/a?b\x7f", "/a?b c", "/a?é",
	} {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			continue // refused before
		}
		if got, err := canonicalTarget(u); err == nil {
			t.Errorf("%s passes as %q", raw, got)
		}
	}
}

// The spelling that was decided is a fixed point, and is what is sent.
func FuzzCanonicalTarget(f *testing.F) {
	for _, s := range []string{"/a", "/%2e%2e/", "/a%2Fb?c=d", "/%", "*", "/a;b", "/é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI(raw)
		if err != nil || u.IsAbs() || u.Host != "" {
			return
		}
		one, err := canonicalTarget(u)
		if err != nil || one.path == "*" {
			return
		}
		one.apply(u)
		sent := u.RequestURI()
		again, err := url.ParseRequestURI(sent)
		if err != nil {
			t.Fatalf("%q is sent as %q: %v", raw, sent, err)
		}
		two, err := canonicalTarget(again)
		if err != nil || two != one || sent != one.String() {
			t.Fatalf("%q: decided %q, sent %q, which is %q (%v)", raw, one, sent, two, err)
		}
	})
}
