//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// publicRule grants looking at one part of a host.
const publicRule = "egress: [{host: example.com, methods: [GET], paths: [/public/**]}]\n"

// shop answers every request with what it was asked.
func (n *internet) shop(name string) *seen {
	s := &seen{}
	n.serve(name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.add(r)
		b, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %s\n", r.Method, r.RequestURI, b)
	}))
	return s
}

// B2: what a rule by request grants works with programs that were told
// nothing; what it does not is refused with the way out, and the host never
// sees it.
func TestRequestsAreDecidedOneByOne(t *testing.T) {
	asEachUser(t, func(h *host) {
		n := newInternet(h, publicRule)
		asked := n.shop("example.com")
		h.expect(h.carrel("run", "--dry-run", "--", "true"), 0, "example.com:443 GET /public/**  (request level)")
		r := h.inside(`curl -sS https://example.com/public/a; curl -sS https://example.com/public/../private --path-as-is; curl -sS -d x https://example.com/public/a; tail -n 1 "$CARREL_NOTICES"`)
		h.expect(r, 0, "GET /public/a", `"rule":"egress/path"`, `"rule":"egress/request"`, "refused: request POST example.com:443/public/a", `methods: [POST], paths: ["/public/a"]`)
		if !h.refusedRecord("request", "example.com") {
			h.Error("no refusal of a request is recorded")
		}
		h.expect(h.inside(`python3 -c 'import urllib.request; print(urllib.request.urlopen("https://example.com/public/py").read().decode())'`), 0, "GET /public/py")
		if asked.has("POST") || asked.has("private") {
			h.Errorf("the host was asked\n%s", asked)
		}
	})
}

// What the dry run says of a rule with several ports is true of each of them:
// plain http beside TLS that passes unread makes nobody look into the TLS.
func TestDryRunSaysTheLeastLook(t *testing.T) {
	h := asUser(t)
	h.write("config/carrel/config.yaml", `egress: [{host: both.test, ports: [80, 443]}, {host: plain.test, ports: [80]}, {host: "2606:4700::1111"}]`+"\n")
	h.expect(h.carrel("run", "--dry-run", "--", "true"), 0, "both.test:80,443  (host level)", "plain.test:80  (request level)", "2606:4700::1111:443  (not from a desk")
}

// A rule or a credential that cannot be is found by its file and line.
func TestBadGrantNamesItsLine(t *testing.T) {
	h := asUser(t)
	for _, c := range []struct{ config, want string }{
		{"egress:\n  - host: ok.test\n  - host: a*.test\n", "config.yaml:3: egress rule a*.test"},
		{"egress:\n  - host: ok.test\n    paths: [x]\n", "config.yaml:2: egress rule ok.test"},
		{"credentials:\n  - {name: a, host: ok.test, from: {env: A}, as: {env: A}}\n  - {name: b, host: OK.test, from: {env: A}, as: {env: B}}\n", "config.yaml:3: credential b"},
		{"credentials:\n  - {name: a, host: a.test, from: {env: A}, as: {env: X}}\n  - {name: b, host: b.test, from: {env: A}, as: {env: X}}\n", "config.yaml:3: credential b: as: X is already"},
		{"credentials:\n  - {name: a, host: a.test, from: {env: A}, as: {file: ~/x}}\n  - {name: b, host: b.test, from: {env: A}, as: {file: ~/x, text: 'k={placeholder}'}}\n", "config.yaml:3: credential b: as: ~/x is already"},
	} {
		h.write("config/carrel/config.yaml", c.config)
		if r := h.carrel("run", "--", "true"); r.code == 0 || !strings.Contains(r.err, c.want) {
			t.Errorf("no %q: %s", c.want, r)
		}
	}
}

// 134: a client that accepts certificates of its own choice only is told so,
// by which rule, and how the host can be let through unread; that way works.
func TestClientThatPinsIsToldTheWayOut(t *testing.T) {
	h := asUser(t)
	n := newInternet(h, publicRule)
	n.shop("example.com")
	ca := h.write("pinned.pem", h.read("config/carrel/ca.pem"))
	pinning := "curl -sS --cacert " + ca + ` https://example.com/public/a && exit; for i in $(seq 50); do grep pinned "$CARREL_NOTICES" && exit; sleep 0.1; done`
	r := h.inside(pinning, "--ro", ca)
	h.expect(r, 0, "(egress/pinned)", "GET /public/**")
	if strings.Contains(r.out, "GET /public/a") {
		h.Errorf("it was answered all the same: %s", r)
	}
	newConfig := strings.Replace(h.read("config/carrel/config.yaml"), publicRule, "egress: [{host: example.com}]\n", 1)
	h.write("config/carrel/config.yaml", newConfig)
	h.expect(h.carrel("run", "--dry-run", "--", "true"), 0, "example.com:443  (host level)")
	h.expect(h.inside(pinning, "--ro", ca), 0, "GET /public/a")
}

// The authority's key is nowhere that a desk, or a later reader of the state,
// could find it.
func TestAuthorityOfTheRunStaysInMemory(t *testing.T) {
	h := asUser(t)
	newInternet(h, publicRule).shop("example.com")
	h.expect(h.inside(`curl -sS https://example.com/public/a; grep -c BEGIN /run/carrel/authority.pem; cat /run/carrel/*.pem | grep -c PRIVATE`), 1, "GET /public/a", "1\n0\n")
	for _, secret := range []string{"EC PRIVATE KEY", "authority of one run"} {
		if r := h.start("", "grep", "-rls", secret, h.dir+"/state", h.dir+"/data", h.dir+"/runtime", h.home); r.out != "" {
			h.Errorf("%q is in %s", secret, r.out)
		}
	}
}
