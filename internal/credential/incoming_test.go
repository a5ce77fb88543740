package credential

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func answer(body string, header ...string) *http.Response {
	res := &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	for i := 0; i+1 < len(header); i += 2 {
		res.Header.Add(header[i], header[i+1])
	}
	return res
}

// attacks.md G 139: what a bound host repeats of a key does not come in,
// however it writes it and wherever the pieces break.
func TestKeyIsTakenOutOfAnswers(t *testing.T) {
	for name, secret := range secretOf {
		d := lend(t, Definition{Name: name, Bindings: []Binding{{Host: "echo.test"}}})
		quoted, _ := json.Marshal(map[string]string{"authorization": "Bearer " + secret})
		for how, text := range map[string]string{
			"plain": "Authorization: Bearer " + secret, "json": string(quoted), "query": "https://x/?t=" + url.QueryEscape(secret), "path": "/" + url.PathEscape(secret) + "/",
			"base64": base64.StdEncoding.EncodeToString([]byte("user:" + secret)), "base64 url": base64.URLEncoding.EncodeToString([]byte("x:" + secret + "more")),
			"base64 at 0": base64.StdEncoding.EncodeToString([]byte(secret)), "hex": hex.EncodeToString([]byte(secret)), "twice": secret + secret,
		} {
			for _, size := range []int{1, 2, 5, 31, 4096} {
				res := answer("")
				res.Body = io.NopCloser(&inPieces{[]byte("before " + text + " after"), size})
				d.Incoming("echo.test", 443, res)
				got, err := io.ReadAll(res.Body)
				if err != nil || len(got) != len("before "+text+" after") || !strings.HasPrefix(string(got), "before ") || !strings.HasSuffix(string(got), " after") {
					t.Errorf("%s, %s in pieces of %d: %q, %v", name, how, size, got, err)
				}
				if leaked(string(got), secret) {
					t.Errorf("%s, %s in pieces of %d came in: %q", name, how, size, got)
				}
			}
		}
	}
}

// leaked undoes the usual encodings and looks for any long part of secret.
func leaked(s, secret string) bool {
	views := []string{s}
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \"/?:=", r) }) {
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
			if b, err := e.DecodeString(f); err == nil {
				views = append(views, string(b))
			}
		}
		if b, err := hex.DecodeString(f); err == nil {
			views = append(views, string(b))
		}
		if u, err := url.QueryUnescape(f); err == nil {
			views = append(views, u)
		}
	}
	middle := secret[len(secret)/3 : len(secret)/3+12]
	for _, v := range views {
		if strings.Contains(v, middle) {
			return true
		}
	}
	return false
}

// An origin that shortens what it repeats (a message cut at some length) shows
// no more of a key than every key of its kind begins with, and a little.
func TestAttackKeyCutShortByTheAnswer(t *testing.T) {
	d := lend(t, github())
	secret := secretOf["github"]
	encoded := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + secret))
	for _, after := range []string{"", "...", "\"}\n"} {
		for _, size := range []int{1, 7, 4096} {
			for cut := 1; cut < len(secret); cut++ {
				res := answer("", "X-Error", "got "+secret[:cut])
				res.Body = io.NopCloser(&inPieces{[]byte("bad " + secret[:cut] + after), size})
				d.Incoming("api.github.test", 443, res)
				got, err := io.ReadAll(res.Body)
				if err != nil || leaked(string(got)+res.Header.Get("X-Error"), secret) || !strings.HasSuffix(string(got), after) || len(got) != len("bad ")+cut+len(after) {
					t.Errorf("%d of %d bytes, in pieces of %d: %q and %q, %v", cut, len(secret), size, got, res.Header.Get("X-Error"), err)
				}
			}
		}
	}
	res := answer(encoded[:len(encoded)-8])
	d.Incoming("api.github.test", 443, res)
	if got, _ := io.ReadAll(res.Body); leaked(string(got), secret) {
		t.Errorf("in base64: %q", got)
	}
	for _, plain := range []string{"ghp_", "a token begins with ghp_ or github_pat_", "ghp_an0therTokenThatIsNobodysBusiness12"} {
		res := answer(plain)
		d.Incoming("api.github.test", 443, res)
		if got, _ := io.ReadAll(res.Body); string(got) != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}

func TestKeyIsTakenOutOfHeadersAndTrailers(t *testing.T) {
	d := lend(t, github())
	secret := secretOf["github"]
	res := answer("x", "Location", "https://x/?token="+secret, "X-Echo", "a", "X-Echo", "Basic "+base64.StdEncoding.EncodeToString([]byte("u:"+secret)), "Set-Cookie", "session=1", "X-"+secret, "1", "Content-Length", "1")
	res.Status = "200 " + secret
	res.Trailer = http.Header{"X-Trailer": nil}
	d.Incoming("api.github.test", 443, res)
	res.Trailer.Set("X-Trailer", secret)
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	_ = res.Header.Write(&all)
	_ = res.Trailer.Write(&all)
	if shown := all.String() + res.Status; leaked(shown, secret) || strings.Contains(strings.ToLower(shown), strings.ToLower(secret)) || strings.Contains(shown, "session") || !strings.Contains(shown, "token="+d.held["github"]) || !strings.Contains(shown, "Content-Length: 1") {
		t.Errorf("header and trailer:\n%s", shown)
	}
	other := answer(secret)
	d.Incoming("unbound.test", 443, other)
	if b, _ := io.ReadAll(other.Body); string(b) != secret {
		t.Error("answers of other hosts are none of ours")
	}
}

func TestCompressedAnswersAreReadOrRefused(t *testing.T) {
	d := lend(t, github())
	secret := secretOf["github"]
	r := request("GET", "https://api.github.test/user", "Accept-Encoding", "gzip, br")
	if err := d.Outgoing(t.Context(), "api.github.test", 443, r); err != nil || r.Header.Get("Accept-Encoding") != "identity" {
		t.Errorf("asked for %q, %v", r.Header.Get("Accept-Encoding"), err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, "you sent "+secret)
	_ = w.Close()
	res := answer(packed.String(), "Content-Encoding", "gzip", "Content-Length", "99")
	d.Incoming("api.github.test", 443, res)
	got, err := io.ReadAll(res.Body)
	if err != nil || string(got) != "you sent "+d.held["github"] || res.Header.Get("Content-Encoding") != "" || res.ContentLength != -1 {
		t.Errorf("%q, %v, %v", got, err, res.Header)
	}
	for _, encoding := range []string{"br", "zstd", "deflate", "gzip, gzip", "GZIP,br"} {
		res := answer("\x1b\x00 opaque "+secret, "Content-Encoding", encoding)
		d.Incoming("api.github.test", 443, res)
		var said struct {
			Rule      string
			NextSteps []string `json:"next_steps"`
			Error     struct{ Message string }
		}
		got, _ := io.ReadAll(res.Body)
		err := json.Unmarshal(got, &said)
		if err != nil || res.StatusCode != http.StatusBadGateway || said.Rule != "credential/unread" || len(said.NextSteps) != 1 || !strings.Contains(said.Error.Message, "compressed") {
			t.Errorf("%s: %d %q, %v", encoding, res.StatusCode, got, err)
		}
	}
}

// What has a header only is not refused for the coding of a body that does not
// come; and if one came, it would not come in.
func TestHeadOfACompressedAnswerComesIn(t *testing.T) {
	d := lend(t, github())
	for method, status := range map[string]int{"HEAD": 200, "GET": 304, "DELETE": 204} {
		res := answer("opaque "+secretOf["github"], "Content-Encoding", "br", "Content-Length", "99", "X-Echo", secretOf["github"])
		res.Request, res.StatusCode = request(method, "https://api.github.test/user"), status
		d.Incoming("api.github.test", 443, res)
		got, err := io.ReadAll(res.Body)
		if err != nil || len(got) > 0 || res.StatusCode != status || res.Header.Get("Content-Length") != "99" || leaked(res.Header.Get("X-Echo"), secretOf["github"]) {
			t.Errorf("%s: %d %v %q, %v", method, res.StatusCode, res.Header, got, err)
		}
	}
}

// An event must not wait for the next one: people switch a proxy off that
// makes streams stutter.
func TestStreamsAreNotHeldBack(t *testing.T) {
	d := lend(t, github())
	r, w := io.Pipe()
	res := answer("")
	res.Body = r
	d.Incoming("api.github.test", 443, res)
	for _, event := range []string{"data: one\n\n", "data: ghp_ almost\n\n", "data: three\n\n"} {
		go func() { _, _ = io.WriteString(w, event) }()
		buf := make([]byte, 100)
		done := make(chan string)
		go func() {
			got := ""
			for len(got) < len(event) {
				n, err := res.Body.Read(buf)
				if err != nil {
					break
				}
				got += string(buf[:n])
			}
			done <- got
		}()
		select {
		case got := <-done:
			if got != event {
				t.Errorf("got %q, want %q", got, event)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%q was held back", event)
		}
	}
}

func TestRefusedKeyIsAskedForAgain(t *testing.T) {
	key := "first-key-0123456789"
	def := github()
	def.Source = &Source{where: "test", keep: time.Hour}
	def.Source.fetch = fetchOf(&key)
	d := lend(t, def)
	get := func() string {
		r := request("GET", "https://api.github.test/user", "Authorization", "Bearer "+d.held["github"])
		if err := d.Outgoing(t.Context(), "api.github.test", 443, r); err != nil {
			t.Fatal(err)
		}
		return r.Header.Get("Authorization")
	}
	key = "other-key-0123456789"
	refused := answer("")
	refused.StatusCode = http.StatusUnauthorized
	d.Incoming("api.github.test", 443, refused)
	if got := get(); got != "Bearer first-key-0123456789" {
		t.Errorf("asked again at once: %s", got)
	}
	def.Source.since = time.Now().Add(-time.Minute)
	d.Incoming("api.github.test", 443, refused)
	if got := get(); got != "Bearer other-key-0123456789" {
		t.Errorf("not asked again: %s", got)
	}
	res := answer("first-key-0123456789 other-key-0123456789")
	d.Incoming("api.github.test", 443, res)
	if got, _ := io.ReadAll(res.Body); strings.Contains(string(got), "first-key") || strings.Contains(string(got), "other-key") {
		t.Errorf("a key that was rotated comes in: %s", got)
	}
}

// A key that has no placeholder is no more to be had from an answer that cuts
// it short, and what merely begins as every key of its kind stays.
func TestAttackConcealedKeyCutShort(t *testing.T) {
	for _, name := range []string{"anthropic", "jwt", "odd"} {
		secret := secretOf[name]
		for _, size := range []int{1, 7, 4096} {
			for cut := len(secret)/3 + 12; cut <= len(secret); cut++ {
				res := answer("", "X-Error", "got "+secret[:cut])
				res.Body = io.NopCloser(&inPieces{[]byte("bad " + secret[:cut] + "~~~"), size})
				Conceal(res, secret)
				got, err := io.ReadAll(res.Body)
				if err != nil || leaked(string(got)+res.Header.Get("X-Error"), secret) || len(got) != len("bad ~~~")+cut || !strings.HasSuffix(string(got), "~~~") {
					t.Errorf("%s, %d of %d bytes in pieces of %d: %q, %q, %v", name, cut, len(secret), size, got, res.Header.Get("X-Error"), err)
				}
			}
		}
	}
	for _, plain := range []string{"keys begin with sk-ant-api03- there", "sk-ant-api03-an0therKeyThatIsNobodysBusiness"} {
		res := answer(plain)
		Conceal(res, secretOf["anthropic"])
		if got, _ := io.ReadAll(res.Body); string(got) != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}

func TestConcealHasNoPlaceholder(t *testing.T) {
	res := answer("you sent "+secretOf["anthropic"]+".", "X-Echo", secretOf["anthropic"])
	Conceal(res, secretOf["anthropic"])
	got, err := io.ReadAll(res.Body)
	if err != nil || string(got) != "you sent "+strings.Repeat("*", len(secretOf["anthropic"]))+"." || leaked(res.Header.Get("X-Echo"), secretOf["anthropic"]) {
		t.Errorf("%q, %v, %v", got, res.Header, err)
	}
}
