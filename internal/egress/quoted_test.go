package egress

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// brokenAnswers are answers that no client can read, each with what the request
// brought.
var brokenAnswers = []string{
	"HTTP/1.1 %s\r\n\r\n",
	"%s",
	"HTTP/1.1 200 OK\r\n%s\r\n\r\n",
	"HTTP/1.1 200 OK\r\n(%s: x\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: %s\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
}

// answerBrokenly answers /N with the Nth of brokenAnswers.
func answerBrokenly(w http.ResponseWriter, r *http.Request) {
	var n int
	fmt.Sscanf(r.URL.Path[strings.LastIndex(r.URL.Path, "/"):], "/%d", &n)
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	fmt.Fprintf(c, brokenAnswers[n], r.Header.Get("Authorization")+r.Header.Get("X-Api-Key"))
	c.Close()
}

// 139: a key that an answer repeats is taken out of the answer, and so out of
// what is said about an answer that cannot be read.
func TestAttackKeyInAnAnswerThatCannotBeRead(t *testing.T) {
	o := newOrigin(t, false, answerBrokenly)
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com"}}}, cfg: Config{Secrets: vault{}}})
	srv := httptest.NewServer(http.HandlerFunc(answerBrokenly))
	defer srv.Close()
	m := modelDesk(t, srv, Config{}, nil)
	for n := range brokenAnswers {
		for _, method := range []string{"GET", "POST"} {
			showsNoKey(t, d.trusting(true), method, fmt.Sprintf("https://example.com/%d", n), "Bearer real")
			showsNoKey(t, m.client(), method, fmt.Sprintf("http://model.desk/%d", n), realKey)
		}
	}
}

func showsNoKey(t *testing.T, c *http.Client, method, url, key string) {
	t.Helper()
	r, _ := http.NewRequest(method, url, nil)
	r.Header.Set("Authorization", "Bearer placeholder")
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusBadGateway || strings.Contains(string(body)+fmt.Sprint(resp.Header), key) || !strings.Contains(string(body), "its answer is not HTTP") {
		t.Errorf("%s %s: %d %s", method, url, resp.StatusCode, body)
	}
}

// What failed before anything was sent, or on the way, is said as it is.
func TestOtherFailuresAreSaid(t *testing.T) {
	for _, err := range []error{
		errDial{errors.New("refused the connection: 407")}, &Breach{Rule: "egress/upload"}, io.ErrUnexpectedEOF,
		&net.OpError{Op: "read", Err: errors.New("connection reset")}, fmt.Errorf("sending: %w", errFraming),
	} {
		if got := unquoted(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
	if got := unquoted(errors.New("malformed HTTP response \"key\"")); got != errUnreadable {
		t.Error(got)
	}
}
