package egress

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/needs"
)

// realClient is a real program that speaks HTTPS: how it gets a page, and how it
// posts one line.
type realClient struct {
	name      string
	get, post string // shell commands; $URL, and $CA for a file of authorities
}

var realClients = []realClient{
	{"curl", `curl -sS "$URL"`, `curl -sS -d hello "$URL"`},
	{"curl with HTTP/1.1", `curl -sS --http1.1 "$URL"`, `curl -sS --http1.1 -d hello "$URL"`},
	{"wget", `wget -qO- --content-on-error "$URL"`, `wget -qO- --content-on-error --post-data=hello "$URL"`},
	{"python3", `python3 - "$URL" <<'P'
import sys, urllib.request, urllib.error
try: print(urllib.request.urlopen(sys.argv[1]).read().decode())
except urllib.error.HTTPError as e: print(e.read().decode())
P`, `python3 - "$URL" <<'P'
import sys, urllib.request, urllib.error
try: print(urllib.request.urlopen(sys.argv[1], b"hello").read().decode())
except urllib.error.HTTPError as e: print(e.read().decode())
P`},
	{"node", `node -e 'fetch(process.argv[1]).then(r=>r.text()).then(console.log)' "$URL"`,
		`node -e 'fetch(process.argv[1],{method:"POST",body:"hello"}).then(r=>r.text()).then(console.log)' "$URL"`},
	{"openssl", `printf 'GET %s HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n' "/${URL#https://example.com/}" | openssl s_client -quiet -verify_return_error -CAfile "$CA" -connect example.com:443 -servername example.com 2>/dev/null`, ""},
}

// shell runs a command inside, with the variables that a desk sets.
func (d *testDesk) shell(t *testing.T, command, url string) string {
	t.Helper()
	dir := t.TempDir()
	_ = os.Chmod(filepath.Dir(dir), 0o755)
	_ = os.Chmod(dir, 0o755)
	ca := filepath.Join(dir, "ca.pem")
	pem := []byte{}
	if a := d.door.cfg.Authority; a != nil {
		pem = a.PEM()
	}
	if err := os.WriteFile(ca, pem, 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"env", "-i", "PATH=" + os.Getenv("PATH"), "HOME=" + dir, "URL=" + url, "CA=" + ca, "SSL_CERT_FILE=" + ca, "CURL_CA_BUNDLE=" + ca,
		"GIT_SSL_CAINFO=" + ca, "NODE_EXTRA_CA_CERTS=" + ca, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1"}
	if strings.HasPrefix(command, "wget") {
		command = "wget --ca-certificate=" + ca + strings.TrimPrefix(command, "wget")
	}
	out, _ := d.exec(append(env, "sh", "-c", command)...)
	return out
}

// Real clients against a real server: what the rule grants works with each,
// what it does not is explained to each.
func TestRealClientsAreInspected(t *testing.T) {
	o := newOrigin(t, true, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, b)
	})
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: readAndComment}})
	for _, c := range realClients {
		t.Run(c.name, func(t *testing.T) {
			needs.Tool(t, strings.Fields(c.name)[0])
			if out := d.shell(t, c.get, "https://example.com/public/a"); !strings.Contains(out, "GET /public/a ") {
				t.Errorf("what is granted: %q", out)
			}
			if out := d.shell(t, c.get, "https://example.com/private"); !strings.Contains(out, `"rule":"egress/request"`) || !strings.Contains(out, `paths: [\"/private\"]`) {
				t.Errorf("what is not: %q", out)
			}
			if c.post == "" {
				return
			}
			if out := d.shell(t, c.post, "https://example.com/public/comments"); !strings.Contains(out, "POST /public/comments hello") {
				t.Errorf("a post: %q", out)
			}
			if out := d.shell(t, c.post, "https://example.com/public/a"); !strings.Contains(out, `"rule":"egress/request"`) {
				t.Errorf("a post elsewhere: %q", out)
			}
		})
	}
	for _, asked := range o.asked() {
		if asked != "GET example.com /public/a" && asked != "POST example.com /public/comments" {
			t.Errorf("the origin was asked %s", asked)
		}
	}
}

// git over HTTPS: reading is granted, pushing is not, until it is.
func TestGitIsInspected(t *testing.T) {
	needs.Tool(t, "git")
	root := t.TempDir()
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if os.Chmod(dir, 0o755) != nil {
			break
		}
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	bare := filepath.Join(root, "acme", "app.git")
	run("init", "-q", "--bare", bare)
	run("-C", bare, "config", "http.receivepack", "true")
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=test"}}
	o := newOrigin(t, true, backend.ServeHTTP)
	read := []Rule{
		{Host: "example.com", Methods: []string{"GET"}, Paths: []string{"/acme/app.git/info/refs"}},
		{Host: "example.com", Methods: []string{"POST"}, Paths: []string{"/acme/app.git/git-upload-pack"}},
	}
	const push = `set -e; git clone -q "$URL" "$HOME/c" 2>&1; cd "$HOME/c"; git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m one; git push -q origin HEAD:main 2>&1 || echo refused; git ls-remote "$URL"`
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: read}})
	if out := d.shell(t, push, "https://example.com/acme/app.git"); !strings.Contains(out, "403") || !strings.Contains(out, "refused") || strings.Contains(out, "refs/heads/main") {
		t.Errorf("reading only: %s", out)
	}
	d.wantRefused(carrel.OpRequest, "example.com", "egress/request")
	d = inspectedDesk(t, o, setup{grants: Grants{Rules: append(read, Rule{Host: "example.com", Methods: []string{"POST"}, Paths: []string{"/acme/app.git/git-receive-pack"}})}})
	if out := d.shell(t, push, "https://example.com/acme/app.git"); !strings.Contains(out, "refs/heads/main") {
		t.Errorf("pushing is granted: %s", out)
	}
	if out := d.shell(t, `git ls-remote "$URL" 2>&1`, "https://example.com/acme/other.git"); !strings.Contains(out, "403") {
		t.Errorf("another repository: %s", out)
	}
}
