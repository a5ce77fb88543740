//go:build linux

package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ticks answers at https://NAME with a stream that has no end. ended receives
// when the other side has gone.
func (n *internet) ticks(name string) (ended chan time.Time) {
	ended = make(chan time.Time, 8)
	n.serve(name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, name+"\n")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
		ended <- time.Now()
	}))
	return ended
}

// 136: what the user's configuration or policy takes away while an agent works
// ends about a second later, whatever carried it; everything else goes on.
func TestWhatIsTakenAwayDuringARunEnds(t *testing.T) {
	asEachUser(t, func(h *host) {
		const (
			kept    = "egress: [{host: stays.test}, {host: policy.test}"
			removed = ", {host: tunnel.test}, {host: request.test, methods: [GET]}"
		)
		n := newInternet(h, kept+removed+"]\npolicy: [hosts.rego]\n")
		const header = "package cowork.access\n\ngoverns := {\"connect\", \"resolve\"}\n\nallow := true\n"
		h.write("config/carrel/hosts.rego", header)
		stays, byPolicy, tunnel, request := n.ticks("stays.test"), n.ticks("policy.test"), n.ticks("tunnel.test"), n.ticks("request.test")
		ctx, cancel := context.WithTimeout(context.Background(), longest)
		defer cancel()
		script := `for s in stays policy tunnel request; do curl -ksSN https://$s.test/ > $s 2>&1 & done
			for i in $(seq 400); do [ $(grep -l "[.]test$" stays policy tunnel request | wc -l) = 4 ] && echo all-run && break; sleep 0.05; done
			for i in $(seq 400); do grep -q "policy.test.*not any more" "$CARREL_NOTICES" && break; sleep 0.05; done
			sleep 0.5; before=$(wc -l < stays); sleep 0.5; [ $(wc -l < stays) -gt $before ] && echo goes-on
			curl -ksS -m 5 https://tunnel.test/; curl -ksSN -m 1 https://stays.test/ | head -n 1; kill %1`
		r := h.signalled(h.command(ctx, carrelBin, "run", "--", "bash", "-c", script), "all-run", func() {
			gone := func(what string, edit func(), ended ...chan time.Time) {
				edit()
				start := time.Now()
				for _, e := range ended {
					select {
					case at := <-e:
						t.Logf("%s: ended after %v", what, at.Sub(start).Round(time.Millisecond))
					case <-time.After(5 * time.Second): // a second, and what a busy machine adds
						h.Errorf("%s: still going on after 5 s", what)
					}
				}
			}
			was := h.read("config/carrel/config.yaml")
			gone("configuration", func() { h.write("config/carrel/config.yaml", strings.Replace(was, removed, "", 1)) }, tunnel, request)
			gone("policy", func() {
				h.write("config/carrel/hosts.rego", header+"\ndeny contains \"not any more\" if input.host == \"policy.test\"\n")
			}, byPolicy)
			select {
			case <-stays:
				h.Error("what is still allowed ended as well")
			default:
			}
		})
		h.expect(r, 0, "all-run", "goes-on", "stays.test")
		if strings.Contains(r.out, "tunnel.test\n") {
			h.Errorf("what was taken away is reached again: %s", r)
		}
		for _, host := range []string{"tunnel.test", "request.test", "policy.test"} {
			if !h.refusedRecord("connect", host) {
				h.Errorf("%s: no refusal is recorded", host)
			}
		}
		if c := strings.Count(r.err, "is in force"); c != 2 {
			h.Errorf("%d changes were said, want 2: %s", c, r)
		}
	})
}
