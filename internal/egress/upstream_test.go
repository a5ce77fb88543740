package egress

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Where the host's proxy is what fails, that is said, with what to do, and
// not taken for a fault of the destination; its address stays outside.
func TestFaultOfTheProxyIsNotTheDestinations(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	defer refusing.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for proxy, want := range map[string]string{refusing.URL: "407 Proxy Authentication Required", "http://" + gone.Addr().String(): "connection refused"} {
		d := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{80, 443}}}}, cfg: Config{Proxy: proxy}})
		body, _ := do(t, d.client(), "GET", "http://ok.test/", nil)
		address := strings.TrimPrefix(proxy, "http://")
		if !strings.Contains(body, "the host's proxy: ") || !strings.Contains(body, want) || !strings.Contains(body, "upstream_proxy") || strings.Contains(body, address) {
			t.Errorf("%s: %s", want, body)
		}
		if resp, err := d.client().Get("https://ok.test/"); err == nil {
			resp.Body.Close()
			t.Errorf("%s: it was reached", want)
		}
		eventually(t, "the notice", func() bool {
			b := d.lastBreach()
			return b.Rule == "egress/unreachable" && strings.Contains(b.Reason, "the host's proxy: ") && len(b.Next) == 1 && !strings.Contains(b.Reason, address)
		})
	}
}
