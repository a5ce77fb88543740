package egress

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// K: answers that are asked for and left unread pile up outside; before they
// fill the host, they end.
func TestAttackAnswersLeftUnread(t *testing.T) {
	o := newOrigin(t, true, func(w http.ResponseWriter, r *http.Request) {
		for r.URL.Path == "/big" {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET"}}}}})
	d.door.memory.most = uint64(inUse()) + 64<<20
	c := d.trusting(true)
	c.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 1024}
	ended := make(chan error, 2*fewHolders)
	for range cap(ended) {
		go func() {
			resp, err := c.Get("https://example.com/big")
			if err == nil {
				time.Sleep(time.Second) // unread
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			ended <- err
		}()
	}
	for range cap(ended) {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("an answer without end has ended well")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("answers went on")
		}
	}
	d.wantBreach("egress/memory")
	if body, resp := do(t, c, "GET", "https://example.com/", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
}

// Few bodies are kept to be sent again; those beyond are sent as they come.
func TestAttackBodiesKeptForTheModel(t *testing.T) {
	srv := httptest.NewServer(&endpoint{keys: []string{realKey}})
	defer srv.Close()
	d := modelDesk(t, srv, Config{}, nil)
	for range maxReplays {
		c := d.connect("model.desk", "80")
		defer c.Close()
		fmt.Fprintf(c, "POST /v1 HTTP/1.1\r\nHost: model.desk\r\nContent-Length: %d\r\n\r\nx", maxReplay)
	}
	eventually(t, "the bodies to be kept", func() bool { return len(d.door.model.replays) == maxReplays })
	resp, err := d.client().Post("http://model.desk/v1", "text/plain", strings.NewReader("y"))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("beside them: %v %v", resp, err)
	}
	resp.Body.Close()
	if n := len(d.door.model.replays); n != maxReplays {
		t.Errorf("%d are kept", n)
	}
	for _, r := range d.log.Records() {
		if r.Kind == carrel.KindResult && r.Outcome != nil && r.Outcome.Status == carrel.OutcomeFailed {
			t.Errorf("failed: %+v", r)
		}
	}
}
