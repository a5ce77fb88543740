package egress

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

// twoSides sends raw bytes to the door as a desk would, on a connection to
// ok.test, and returns what policy saw of them and what the origin received:
// method, authority and target of each request, and how long its body was
// said to be; and the bodies that came whole.
func twoSides(t testing.TB, raw []byte) (decided, received, bodies []string) {
	var mu sync.Mutex
	var atGate, atOrigin, whole []string // the origin may be busy for longer than this
	g := gate.New(gatetest.Decide(func(a carrel.Action) carrel.Decision {
		if a.Operation == carrel.OpRequest {
			mu.Lock()
			atGate = append(atGate, fmt.Sprintf("%s %s %s %d", a.Method, authority(a), a.URL, a.BodySize))
			mu.Unlock()
		}
		return carrel.Decision{Verdict: carrel.Allow}
	}), gatetest.Nobody{}, &gatetest.Log{Forget: true})
	origin := &http.Server{DisableGeneralOptionsHandler: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		atOrigin = append(atOrigin, fmt.Sprintf("%s %s %s %d", r.Method, r.Host, r.RequestURI, r.ContentLength))
		mu.Unlock()
		if b, err := io.ReadAll(r.Body); err == nil {
			mu.Lock()
			whole = append(whole, string(b))
			mu.Unlock()
		}
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	go origin.Serve(l)
	rules, _ := NewRules(Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{80}, WebSocket: true}}})
	d, err := New(g, Config{Rules: rules, Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr(public)}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.dials.dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		return net.Dial("tcp", l.Addr().String())
	}
	d.run(d.web.run)
	defer d.Close()
	desk, door := net.Pipe()
	go func() {
		desk.SetDeadline(time.Now().Add(2 * time.Second))
		desk.Write(raw)
		desk.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // no answer takes longer
	}()
	a := d.action(carrel.OpConnect, "ok.test", 80, carrel.ProtoHTTP)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.Do(context.Background(), a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
			_, l := d.keep(ctx, &a, 0)
			defer l.done()
			return d.carryHTTP(ctx, g, l, door, door)
		})
	}()
	io.Copy(io.Discard, desk)
	desk.Close()
	<-ended
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(atGate), slices.Clone(atOrigin), slices.Clone(whole)
}

// What the policy saw is what the origin received, request by request: none
// is hidden, none is changed, none is added.
func TestPolicySeesWhatTheOriginReceives(t *testing.T) {
	const get = "GET /%61?b=%2e&c HTTP/1.1\r\nHost: OK.test:80\r\n\r\n"
	for name, raw := range ambiguous {
		decided, received, _ := twoSides(t, []byte(get+raw+get))
		if !slices.Equal(decided, received) || len(received) != 1 {
			t.Errorf("%s: decided %q, received %q", name, decided, received)
		}
	}
	decided, received, _ := twoSides(t, []byte(get+post+"Content-Length: 3\r\n\r\nabc"+get+post+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"+"OPTIONS * HTTP/1.1\r\nHost: ok.test\r\n\r\n"+get))
	want := []string{"GET ok.test /a?b=%2e&c 0", "POST ok.test /x 3", "GET ok.test /a?b=%2e&c 0", "POST ok.test /x -1", "OPTIONS ok.test * 0", "GET ok.test /a?b=%2e&c 0"}
	if !slices.Equal(decided, want) || !slices.Equal(received, want) {
		t.Errorf("decided %q\nreceived %q", decided, received)
	}
}

func FuzzPolicySeesWhatTheOriginReceives(f *testing.F) {
	for _, raw := range ambiguous {
		f.Add(raw)
	}
	f.Add("GET http://ok.test/a%2f?x HTTP/1.1\r\nHost: ok.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	f.Add(post + "Content-Length: 3\r\n\r\nabcGET /;a HTTP/1.0\r\nHost: ok.test\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n")
	f.Fuzz(func(t *testing.T, raw string) {
		decided, received, _ := twoSides(t, []byte(strings.ReplaceAll(raw, "a.test", "ok.test")))
		for len(decided) > len(received) { // the last may have broken off before it was sent
			decided = decided[:len(decided)-1]
		}
		if !slices.Equal(decided, received) {
			t.Fatalf("%q: decided %q, received %q", raw, decided, received)
		}
	})
}
