//go:build linux

package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
)

// The real clients of package managers, each with --profile and nothing else,
// against registries that answer under the usual names: what the profile is
// for works, and publishing does not.

// verdaccioPackage asks for a real npm registry, the newest that runs on the
// Node.js of Debian. One package of its own names a tag that not every mirror
// has.
const verdaccioPackage = `{"name":"registry","version":"1.0.0","dependencies":{"verdaccio":"6.0.5"},"overrides":{"node-fetch":"2.7.0"}}`

// registry starts a real npm registry with one package and returns its
// address and the token of the user who may publish.
func registry(h *host) (address, token string) {
	h.Helper()
	dir := installed(h.T, "verdaccio 6.0.5", func(dir string) error {
		if err := os.WriteFile(dir+"/package.json", []byte(verdaccioPackage), 0o644); err != nil {
			return err
		}
		return loudly(dir, "npm", "install", "--no-audit", "--no-fund")
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	own := h.T.TempDir()
	config := fmt.Sprintf(`storage: %s/storage
auth: {htpasswd: {file: %s/htpasswd, max_users: 5}}
packages: {"**": {access: $all, publish: $authenticated}}
log: {type: stdout, format: pretty, level: warn}
`, own, own)
	if err := os.WriteFile(own+"/config.yaml", []byte(config), 0o600); err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "node", dir+"/node_modules/verdaccio/bin/verdaccio", "-c", own+"/config.yaml", "-l", address)
	cmd.Env = append(os.Environ(), "HOME="+own)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { cancel(); _ = cmd.Wait() })
	h.answers("http://"+address+"/-/ping", &said)
	return address, h.publisher(address)
}

// answers waits for a server.
func (h *host) answers(address string, said fmt.Stringer) {
	h.Helper()
	for range 200 {
		if r, err := http.Get(address); err == nil {
			r.Body.Close()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.Fatalf("no answer: %s", said)
}

// publisher adds a user to an npm registry and returns the token.
func (h *host) publisher(address string) string {
	h.Helper()
	req, err := http.NewRequest("PUT", "http://"+address+"/-/user/org.couchdb.user:maker", strings.NewReader(`{"name":"maker","password":"not-so-secret"}`))
	if err != nil {
		h.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		h.Fatalf("%s, %v", resp.Status, err)
	}
	return answer.Token
}

// behind passes requests on to a server of loopback, and notes them.
func behind(address string, s *seen) http.Handler {
	to := &url.URL{Scheme: "http", Host: address}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		p.Out.Host = p.In.Host
		p.Out.Header.Set("X-Forwarded-Proto", "https")
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.add(r); proxy.ServeHTTP(w, r) })
}

// noted notes the requests that handler gets.
func noted(s *seen, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.add(r); handler.ServeHTTP(w, r) })
}

func TestNpmFetchesAndDoesNotPublish(t *testing.T) {
	h := asUser(t)
	address, token := registry(h)
	s := &seen{}
	n := newInternet(h, "")
	n.serve("registry.npmjs.org", behind(address, s))
	h.write("made/package.json", `{"name":"@acme/greeting","version":"1.0.0","main":"index.js"}`)
	h.write("made/index.js", `console.log("hello from a package")`)
	h.write("made/.npmrc", "//"+address+"/:_authToken="+token+"\n")
	h.expect(h.start("", "npm", "publish", h.dir+"/made", "--access", "public", "--registry", "http://"+address, "--userconfig", h.dir+"/made/.npmrc"), 0)

	r := h.inside(`set -e; cd /tmp; npm install --no-save @acme/greeting 2>&1; node node_modules/@acme/greeting
		mkdir p && cd p && echo '{"name":"stolen","version":"1.0.0"}' > package.json
		echo "//registry.npmjs.org/:_authToken=npm_ofsomebodyelse" > ~/.npmrc
		npm publish 2>&1 || echo not published`, "--profile", "npm")
	h.expect(r, 0, "hello from a package", "not published")
	if s.has("PUT ") || !s.has("GET", "greeting") {
		h.Errorf("the registry got\n%s", s)
	}
	if !h.refusedByRule("egress/request") {
		h.Errorf("no record of the refused publication: %s", r)
	}
}

// A token that stays outside publishes, where the user lets it.
func TestNpmPublishesWithATokenThatStaysOutside(t *testing.T) {
	h := asUser(t)
	address, token := registry(h)
	s := &seen{}
	n := newInternet(h, `egress: [{host: registry.npmjs.org, methods: [PUT], paths: ["/*acme*/**"]}]
credentials:
  - name: npm
    host: registry.npmjs.org
    from: {env: REGISTRY_TOKEN}
    as: {file: ~/.npmrc, text: "//registry.npmjs.org/:_authToken={placeholder}\n"}
`)
	n.serve("registry.npmjs.org", behind(address, s))
	h.env = append(h.env, "REGISTRY_TOKEN="+token)
	r := h.inside(`set -e; cat ~/.npmrc; mkdir /tmp/p; cd /tmp/p
		echo '{"name":"@acme/made","version":"1.0.0"}' > package.json
		npm whoami; npm publish --access public 2>&1; npm view @acme/made version`, "--profile", "npm")
	h.expect(r, 0, "maker", "+ @acme/made@1.0.0")
	if strings.Contains(r.out+r.err, token) || !s.has("PUT", token) {
		h.Errorf("%s\nthe registry got\n%s", r, s)
	}
	if out, _ := exec.Command("grep", "-rlaF", "--", token, h.dir).Output(); len(out) > 0 {
		h.Errorf("the token lies in %s", out)
	}
}

func TestGoFetchesModules(t *testing.T) {
	h := asUser(t)
	installed(h.T, "go module "+goProject, func(dir string) error {
		if err := loudly(dir, "go", "mod", "init", "fetch"); err != nil {
			return err
		}
		return loudly(dir, "go", "mod", "download", goProject)
	})
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{}
	n := newInternet(h, "")
	n.serve("proxy.golang.org", noted(s, http.FileServer(http.Dir(strings.TrimSpace(string(cache))+"/cache/download"))))
	r := h.inside(`set -e; cd /tmp; mkdir m; cd m; go mod init example.test/m 2>/dev/null
		printf 'package main\nimport "github.com/google/uuid"\nfunc main() { println(len(uuid.NewString())) }\n' > main.go
		go get `+goProject+` 2>&1; go list -f 'has {{.Module.Path}} {{.Module.Version}} {{len .GoFiles}}' github.com/google/uuid
		curl -sS -X POST https://proxy.golang.org/ | head -c 100`, "--profile", "go", "--cache", "none",
		"--env", "GOSUMDB=off", "--env", "GOTOOLCHAIN=local", "--env", "GOPROXY=https://proxy.golang.org", "--env", "GOFLAGS=-mod=mod")
	h.expect(r, 0, "has github.com/google/uuid v1.3.1", "egress/request")
	if !s.has("GET proxy.golang.org", "uuid/@v/v1.3.1.zip") || s.has("POST") {
		h.Errorf("the proxy got\n%s", s)
	}
}

func TestPipFetchesPackages(t *testing.T) {
	h := asUser(t)
	name, wheel := pythonWheel(h)
	s := &seen{}
	index := http.NewServeMux()
	index.HandleFunc("GET /simple/greeting/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a href="https://files.pythonhosted.org/packages/%s#sha256=%x">%s</a>`, name, sha256.Sum256(wheel), name)
	})
	files := http.NewServeMux()
	files.HandleFunc("GET /packages/"+name, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(wheel) })
	n := newInternet(h, "")
	n.serve("pypi.org", noted(s, index))
	n.serve("files.pythonhosted.org", noted(s, files))
	script := `set -e; /usr/bin/python3 -m pip install -q --target /tmp/lib greeting 2>&1; PYTHONPATH=/tmp/lib /usr/bin/python3 -c 'import greeting; greeting.hello()'
		curl -sS -F a=b https://pypi.org/legacy/ | head -c 100`
	h.expect(h.inside(script, "--profile", "pip", "--cache", "none"), 0, "hello from a wheel", "egress/request")
	if !s.has("GET files.pythonhosted.org", name) || s.has("POST") {
		h.Errorf("the index got\n%s", s)
	}

	// An index of one's own, with a password that stays outside.
	private := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "team" || password != canaryGithub {
			w.Header().Set("WWW-Authenticate", `Basic realm="index"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		index.ServeHTTP(w, r)
	})
	n = newInternet(h, `egress: [{host: index.corp.test}]
credentials:
  - {name: index, host: index.corp.test, basic: team, from: {env: INDEX_KEY}, as: {env: PIP_INDEX_URL, text: "https://team:{placeholder}@index.corp.test/simple"}}
`)
	n.serve("index.corp.test", private)
	n.serve("files.pythonhosted.org", files)
	h.env = append(h.env, "INDEX_KEY="+canaryGithub)
	r := h.inside(`/usr/bin/python3 -m pip install -q --target /tmp/lib2 greeting 2>&1; PYTHONPATH=/tmp/lib2 /usr/bin/python3 -c 'import greeting; greeting.hello()'; echo $PIP_INDEX_URL`, "--profile", "pip", "--cache", "none")
	h.expect(r, 0, "hello from a wheel", "https://team:ghp_")
	h.noKey(r)
}

// pythonWheel makes a package as pip wants it.
func pythonWheel(h *host) (name string, wheel []byte) {
	h.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range [][2]string{
		{"greeting.py", "def hello(): print('hello from a wheel')\n"},
		{"greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"},
		{"greeting-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"greeting-1.0.dist-info/RECORD", "greeting.py,,\ngreeting-1.0.dist-info/METADATA,,\ngreeting-1.0.dist-info/WHEEL,,\ngreeting-1.0.dist-info/RECORD,,\n"},
	} {
		w, err := z.Create(f[0])
		if err != nil {
			h.Fatal(err)
		}
		if _, err := io.WriteString(w, f[1]); err != nil {
			h.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		h.Fatal(err)
	}
	return "greeting-1.0-py3-none-any.whl", out.Bytes()
}

func TestAptFetchesPackages(t *testing.T) {
	h := asUser(t)
	s := &seen{}
	n := newInternet(h, "")
	n.servePlain("deb.debian.org", noted(s, http.FileServer(http.Dir(debianRepository(h)))))
	r := h.inside(`set -e; mkdir -p /tmp/a/lists/partial /tmp/a/archives/partial /tmp/x; cd /tmp/x; touch /tmp/a/status
		echo "deb [trusted=yes] http://deb.debian.org/debian stable main" > /tmp/a/list
		o="-o Dir::State=/tmp/a -o Dir::State::status=/tmp/a/status -o Dir::Cache=/tmp/a -o Dir::Etc::sourcelist=/tmp/a/list -o Dir::Etc::sourceparts=- -o Acquire::Languages=none -o APT::Architecture=amd64 -o APT::Sandbox::User="
		apt-get $o update 2>&1; apt-get $o download greeting 2>&1; dpkg-deb -x greeting_1.0_all.deb root; cat root/usr/share/greeting`, "--profile", "apt")
	h.expect(r, 0, "hello from a package")
	if !s.has("GET deb.debian.org", "greeting_1.0_all.deb") {
		h.Errorf("the mirror got\n%s", s)
	}
}

// debianRepository is one with one package, as small as apt takes it.
func debianRepository(h *host) string {
	h.Helper()
	dir := h.T.TempDir()
	for name, text := range map[string]string{
		"p/DEBIAN/control":     "Package: greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.com>\nDescription: a test\n",
		"p/usr/share/greeting": "hello from a package\n",
	} {
		if err := os.MkdirAll(filepath.Dir(dir+"/"+name), 0o755); err != nil {
			h.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			h.Fatal(err)
		}
	}
	index := dir + "/debian/dists/stable/main/binary-amd64"
	if err := os.MkdirAll(index, 0o755); err != nil {
		h.Fatal(err)
	}
	if err := loudly(dir, "dpkg-deb", "--root-owner-group", "-b", "p", "debian/greeting_1.0_all.deb"); err != nil {
		h.Fatal(err)
	}
	deb, err := os.ReadFile(dir + "/debian/greeting_1.0_all.deb")
	if err != nil {
		h.Fatal(err)
	}
	packages := fmt.Sprintf("Package: greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.com>\nFilename: greeting_1.0_all.deb\nSize: %d\nSHA256: %x\nDescription: a test\n\n", len(deb), sha256.Sum256(deb))
	release := fmt.Sprintf("Suite: stable\nCodename: stable\nComponents: main\nArchitectures: amd64\nDate: %s\nSHA256:\n %x %d main/binary-amd64/Packages\n",
		time.Now().UTC().Format(time.RFC1123), sha256.Sum256([]byte(packages)), len(packages))
	for name, text := range map[string]string{index + "/Packages": packages, dir + "/debian/dists/stable/Release": release} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			h.Fatal(err)
		}
	}
	return dir
}

func TestGitProfileFetchesAndDoesNotPush(t *testing.T) {
	h := asUser(t)
	s := &seen{}
	n := newInternet(h, "")
	backend := gitServer(h, s)
	n.serve("github.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := r.Clone(r.Context())
		open.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("x-access-token:"+canaryGithub)))
		backend.ServeHTTP(w, open) // a public repository that anybody may even push to
	}))
	r := h.inside(`cd /tmp; git clone -q git@github.com:acme/app && cd app && cat file && echo x > x && git add x && git commit -qm x && git push origin HEAD:evil 2>&1 || echo not pushed`, "--profile", "git")
	h.expect(r, 0, "of the server", "not pushed")
	if s.has("POST", "git-receive-pack") {
		h.Errorf("a push arrived: %s", s)
	}
}

// cargo's sparse index is files; the toolchain is whatever this machine has.
func TestCargoFetchesCrates(t *testing.T) {
	h := newHost(t, os.Getuid(), os.Getgid()) // whoever can read the toolchain
	toolchain := rustToolchain(h)
	crate := crateOf(h)
	s := &seen{}
	index, files := http.NewServeMux(), http.NewServeMux()
	index.HandleFunc("GET /config.json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"dl":"https://static.crates.io/crates","api":"https://crates.io"}`)
	})
	index.HandleFunc("GET /gr/ee/greeting", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"name":"greeting","vers":"1.0.0","deps":[],"cksum":"%x","features":{},"yanked":false}`+"\n", sha256.Sum256(crate))
	})
	files.HandleFunc("GET /crates/greeting/1.0.0/download", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(crate) })
	n := newInternet(h, "")
	n.serve("index.crates.io", noted(s, index))
	n.serve("static.crates.io", noted(s, files))
	r := h.inside(`set -e; mkdir -p /tmp/m/src; cd /tmp/m; echo 'fn main() {}' > src/main.rs
		printf '[package]\nname = "m"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\ngreeting = "1"\n' > Cargo.toml
		export PATH=`+toolchain+`/bin:$PATH; cargo fetch 2>&1; cat ~/.cargo/registry/src/*/greeting-1.0.0/src/lib.rs`,
		"--profile", "cargo", "--cache", "none", "--ro", toolchain)
	h.expect(r, 0, "hello from a crate")
	if !s.has("GET static.crates.io", "greeting") {
		h.Errorf("the index got\n%s", s)
	}
}

// rustToolchain returns where a desk finds Rust: the system's own, or a copy
// of one in the home, which is never shown.
func rustToolchain(h *host) string {
	h.Helper()
	needs.Tool(h, "cargo", "rustc")
	out, err := exec.Command("rustc", "--print", "sysroot").Output()
	if err != nil {
		h.Fatal(err)
	}
	root := strings.TrimSpace(string(out))
	if root == "/usr" {
		return root
	}
	shown := h.dir + "/rust"
	if err := os.Mkdir(shown, 0o755); err != nil {
		h.Fatal(err)
	}
	for _, dir := range []string{"bin", "lib"} {
		show(h, filepath.Join(root, dir), filepath.Join(shown, dir))
	}
	return shown
}

// crateOf makes a crate as cargo packs them.
func crateOf(h *host) []byte {
	h.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	a := tar.NewWriter(z)
	for _, f := range [][2]string{
		{"greeting-1.0.0/Cargo.toml", "[package]\nname = \"greeting\"\nversion = \"1.0.0\"\nedition = \"2021\"\n"},
		{"greeting-1.0.0/src/lib.rs", "// hello from a crate\n"},
	} {
		if err := a.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}); err != nil {
			h.Fatal(err)
		}
		if _, err := io.WriteString(a, f[1]); err != nil {
			h.Fatal(err)
		}
	}
	if err := errors.Join(a.Close(), z.Close()); err != nil {
		h.Fatal(err)
	}
	return out.Bytes()
}
