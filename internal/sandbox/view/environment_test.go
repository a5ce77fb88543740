package view

import (
	"slices"
	"strings"
	"testing"
)

func TestOnlyTheAllowListIsHandedIn(t *testing.T) {
	h := home(t, nil)
	h.Environ = append(h.Environ, "AWS_SECRET_ACCESS_KEY=canary", "GITHUB_TOKEN=canary", "SSH_AUTH_SOCK=/canary", "LD_PRELOAD=/canary", "MY_OWN=canary",
		"DBUS_SESSION_BUS_ADDRESS=canary", "LC_TIME=de_DE.UTF-8", "COLORTERM=truecolor", "GOPROXY=https://u:canary@p.test", "GOFLAGS=-mod=mod")
	p := build(t, h, h.request("true"))
	if all := strings.Join(p.Env, "\n"); strings.Contains(all, "canary") {
		t.Errorf("handed in: %s", all)
	}
	for name, want := range map[string]string{"LC_TIME": "de_DE.UTF-8", "COLORTERM": "truecolor", "TERM": "xterm", "GOFLAGS": "-mod=mod", "CARREL": "1", "USER": "u"} {
		if got := p.env(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.Contains(w, "GOPROXY") }) {
		t.Errorf("nothing says that GOPROXY is missing: %v", p.Warnings)
	}
	if len(p.Handed) != 0 {
		t.Errorf("handed: %v", p.Handed)
	}
}

func TestWhatTheUserHandsInIsNamedIfItLooksSecret(t *testing.T) {
	h := home(t, nil)
	h.Environ = append(h.Environ, "GITHUB_TOKEN=abc", "PLAIN=1")
	r := h.request("true")
	r.Env = []string{"GITHUB_TOKEN", "PLAIN", "NOT_SET_HERE", "INNOCENT=ghp_0123456789abcdefghijABCDEFGHIJ", "DB=postgres://u:pw@h/db", "EMPTY_KEY=", "CARREL=2"}
	r.ProfileEnv = []string{"PLAIN=profile", "FROM_PROFILE=x"}
	p := build(t, h, r)
	if want := []string{"DB", "GITHUB_TOKEN", "INNOCENT"}; !slices.Equal(p.Handed, want) {
		t.Errorf("named %v, want %v", p.Handed, want)
	}
	if p.env("GITHUB_TOKEN") != "abc" || p.env("PLAIN") != "1" || p.env("FROM_PROFILE") != "x" || p.env("CARREL") != "2" {
		t.Errorf("environment %v", p.Env)
	}
	if !slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.Contains(w, "NOT_SET_HERE") }) {
		t.Error("a variable that is not set is passed over in silence")
	}
	for _, bad := range []string{"=x", "A\x00B=x", "A=x\x00y"} {
		r.Env = []string{bad}
		if _, err := Build(h, r); err == nil {
			t.Errorf("--env %q is accepted", bad)
		}
	}
}

func TestLooksSecret(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        bool
	}{
		{"OPENAI_API_KEY", "x", true}, {"npm_config__authToken", "x", true}, {"DB_PASSWORD", "x", true}, {"apiKey", "x", true},
		{"X", "sk-ant-api03-REDACTED0000", true}, {"X", "AKIAIOSFODNN7EXAMPLE", true}, {"X", "eyJhbGciOiJI.eyJzdWIiOiIx.sig", true},
		{"X", "-----BEGIN RSA PRIVATE KEY-----", true}, {"X", "https://user:pass@host/x", true}, {"X", "https://host/x", false},
		{"X", "https://0123456789abcdefghij@host/", true}, {"X", "git@github.com:a/b", false}, {"PATH", "/usr/bin", false}, {"KEYBOARD", "us", false}, {"TOKEN", "", false},
	} {
		if got := looksSecret(c.name, c.value); got != c.want {
			t.Errorf("looksSecret(%s, %s) = %v", c.name, c.value, got)
		}
	}
}

func TestAuthoritiesOfTheHostAreShownWithoutKeys(t *testing.T) {
	h := home(t, map[string]string{"ca/corp.pem": "-----BEGIN CERTIFICATE-----\nx", "ca2/both.pem": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----", "ca2/x": ""})
	h.Environ = append(h.Environ, "SSL_CERT_FILE="+h.Home+"/ca/corp.pem", "NODE_EXTRA_CA_CERTS="+h.Home+"/ca2/both.pem", "CURL_CA_BUNDLE="+h.Home+"/.ssh/id")
	p := build(t, h, h.request("true"))
	if p.env("SSL_CERT_FILE") != h.Home+"/ca/corp.pem" || !p.sees(h.Home+"/ca/corp.pem") {
		t.Error("the organisation's authority is missing")
	}
	if p.env("NODE_EXTRA_CA_CERTS") != "" || p.sees(h.Home+"/ca2/both.pem") || p.env("CURL_CA_BUNDLE") != "" {
		t.Error("a file with a key is shown")
	}
}

// Where the run has an authority of its own, programs trust it besides the
// host's, whichever place they look at.
func TestAuthorityOfTheRunIsTrustedInside(t *testing.T) {
	const corp, own = "-----BEGIN CERTIFICATE-----\ncorp", "-----BEGIN CERTIFICATE-----\nown\n"
	h := home(t, map[string]string{"ca/corp.pem": corp})
	h.Environ = append(h.Environ, "CURL_CA_BUNDLE="+h.Home+"/ca/corp.pem", "SSL_CERT_FILE=")
	content := func(p Plan, path string) string {
		if m := p.mount(path); m != nil {
			return string(m.Content)
		}
		return ""
	}
	r := h.request("true")
	r.Authority = []byte(own)
	p := build(t, h, r)
	for _, name := range []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
		if c := content(p, p.env(name)); !strings.HasPrefix(c, own) {
			t.Errorf("%s names %s, which does not begin with the run's authority", name, p.env(name))
		}
	}
	if c := content(p, p.env("CURL_CA_BUNDLE")); !strings.Contains(c, corp) {
		t.Error("the organisation's authority is lost")
	}
	if system := bundle(systemBundles[0]); system != "" {
		for _, path := range []string{systemBundles[0], p.env("SSL_CERT_FILE")} {
			if c := content(p, path); !strings.Contains(c, own) || !strings.Contains(c, system) {
				t.Errorf("%s lacks the run's authority or the system's", path)
			}
		}
	}
	if p := build(t, h, h.request("true")); content(p, bundlePath) != "" || p.env("GIT_SSL_CAINFO") != "" {
		t.Error("a bundle without an authority")
	}
}
