package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const lent = `credentials:
  - name: github
    host: api.github.com
    methods: [GET, POST]
    paths: ["/repos/acme/app/**"]
    also: [{host: github.com, basic: x-access-token}]
    from: {command: [gh, auth, token]}
    as: {env: GH_TOKEN}
    for: 2h
  - name: npm
    host: registry.example.com
    from: {file: ~/keys/npm}
    as: {file: ~/.npmrc, text: "//registry.example.com/:_authToken={placeholder}\n"}
    lend: named
`

func TestCredentialsAreRead(t *testing.T) {
	e := Merge(nil, parse(t, userSource, lent), parse(t, repoSource, "credentials: [{name: npm}]\n"), true)
	if len(e.Credentials) != 2 || !slices.Equal(e.Named, []string{"npm"}) {
		t.Fatalf("%+v, named %v", e.Credentials, e.Named)
	}
	github, npm := e.Credentials[0].Value, e.Credentials[1].Value
	if p := github.Places(); len(p) != 2 || p[0].Host != "api.github.com" || p[1].Basic != "x-access-token" || time.Duration(github.For) != 2*time.Hour {
		t.Errorf("%+v", github)
	}
	if npm.From.File != "/home/u/keys/npm" || npm.As.Fill("npm_x") != "//registry.example.com/:_authToken=npm_x\n" || github.As.Fill("ghp_x") != "ghp_x" {
		t.Errorf("%+v", npm)
	}
	untrusted := Merge(nil, parse(t, userSource, lent), parse(t, repoSource, "credentials: [{name: npm}]\n"), false)
	if len(untrusted.Named) != 0 {
		t.Error("a repository that is not trusted names credentials")
	}
	if g := Grants(parse(t, repoSource, "credentials: [{name: npm}]\n")); len(g) != 1 || g[0].Kind != "credential" || g[0].Value != "npm" {
		t.Errorf("grants %v", g)
	}
}

func TestRepositoryMayOnlyNameACredential(t *testing.T) {
	for _, more := range []string{
		"host: evil.test", "port: 444", "header: X-Key", "basic: me", "query: key", "methods: [GET]", "paths: [/]", "own: true",
		"also: [{host: evil.test}]", "from: {env: HOME}", "from: {file: /etc/passwd}", "from: {command: [sh]}", "as: {env: PATH}", "for: 1h", "lend: always",
	} {
		_, err := Parse(repoSource, []byte("credentials:\n  - name: github\n    "+more+"\n"))
		if err == nil || !strings.Contains(err.Error(), "config.yaml:2: a repository may name a credential and nothing more") {
			t.Errorf("%s: %v", more, err)
		}
	}
	if _, err := Parse(repoSource, []byte("credentials: [{name: \"../x\"}]\n")); err == nil {
		t.Error("an odd name was accepted")
	}
}

func TestCredentialMistakesAreNamed(t *testing.T) {
	const whole = "{name: a, host: h.test, from: {env: A}, as: {env: B}}"
	parse(t, userSource, "credentials: ["+whole+"]\n")
	for entry, want := range map[string]string{
		"{host: h.test, from: {env: A}}":                                         "needs a name",
		"{name: a, from: {env: A}}":                                              "needs the host",
		"{name: a, host: h.test}":                                                "a key comes from one place",
		"{name: a, host: h.test, from: {env: A, file: /x}}":                      "a key comes from one place",
		"{name: a, host: h.test, from: {env: A}, as: {env: B, file: ~/x}}":       "either a variable or a file",
		"{name: a, host: h.test, from: {env: A}, as: {file: /etc/x}}":            "not a clean path in the agent's home",
		"{name: a, host: h.test, from: {env: A}, as: {file: ~/../x}}":            "not a clean path in the agent's home",
		"{name: a, host: h.test, from: {env: A}, as: {env: B, text: key}}":       "where the placeholder goes",
		"{name: a, host: h.test, from: {env: A}, as: {env: 1B}}":                 "not the name of a variable",
		"{name: a, host: h.test, from: {env: A}, lend: never}":                   "neither always nor named",
		"{name: a, hots: h.test, from: {env: A}}":                                `did you mean "host"?`,
		"{name: a, host: h.test, from: {env: A}, also: [{hots: x.test}]}":        `did you mean "host"?`,
		"{name: a, host: h.test, from: {env: A}, as: {text: \"{placeholder}\"}}": "say env or file",
	} {
		if _, err := Parse(userSource, []byte("credentials: ["+entry+"]\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", entry, err, want)
		}
	}
}
