package config

import (
	"strings"
	"testing"
)

func TestRepositoryMaySayOnlyWhatConcernsIt(t *testing.T) {
	for _, text := range []string{
		"model: {endpoint: https://evil.test}", "model: {key: {command: [cat, /home/u/.netrc]}}", "policy: [/tmp/open.rego]",
		"upstream_proxy: http://evil.test:1", "extra_roots: [/tmp/evil.pem]", "identity: {name: a, email: b}", "profile: {claude: evil}",
		"profiles: {evil: {}}", "home: keep", "limits: {best_effort: true}", "ro: [sub/dir]",
	} {
		if _, err := Parse(repoSource, []byte("hide: [.env]\n"+text+"\n")); err == nil || !strings.HasPrefix(err.Error(), RepositoryPath+":2: ") {
			t.Errorf("%s: %v", text, err)
		}
	}
	parse(t, repoSource, "egress: [{host: proxy.golang.org}]\nhide: [.env]\nhome: discard\nstaging: copy\nlimits: {memory: 1G}\nenv: [A]\nro: [/opt]\ncache: [go]\n")
}

func TestRepositoryNarrowsAtOnceAndGrantsAfterTrust(t *testing.T) {
	user := parse(t, userSource, "egress: [{host: mine.test}]\nlimits: {memory: 2G, pids: 100}\nhome: keep\nhide: [a]\n")
	repo := parse(t, repoSource, "egress: [{host: theirs.test}]\nservices: [{name: db, address: \"127.0.0.1:1\"}]\nenv: [TOKEN]\nro: [/home/u/.ssh]\ncache: [go]\n"+
		"limits: {memory: 1G, pids: 200}\nhome: discard\nhide: [b]\nstaging: copy\n")
	before, after := Merge(nil, user, repo, false), Merge(nil, user, repo, true)
	if len(before.Egress) != 1 || len(before.Services)+len(before.Env)+len(before.RO)+len(before.Cache) != 0 {
		t.Errorf("granted without trust: %+v", before)
	}
	if len(after.Egress) != 2 || len(after.Services) != 1 || len(after.Env) != 1 || len(after.RO) != 1 || len(after.Cache) != 1 {
		t.Errorf("not granted with trust: %+v", after)
	}
	if after.Egress[1].Origin.Layer != Repository {
		t.Errorf("origin: %+v", after.Egress[1].Origin)
	}
	for _, e := range []Effective{before, after} {
		if e.Limits.Memory.Value != 1<<30 || e.Limits.Memory.Origin.Layer != Repository || e.Limits.Pids.Value != 100 {
			t.Errorf("limits: %+v", e.Limits)
		}
		if e.Home.Value != "discard" || len(e.Hide) != 2 || e.Staging.Value != "copy" {
			t.Errorf("not narrowed: %+v", e)
		}
	}
}

func TestOrganisationBeforeUser(t *testing.T) {
	org := parse(t, orgSource, "model: {endpoint: https://gw.corp}\nupstream_proxy: http://p:1\nlimits: {memory: 1G}\npolicy: [floor.rego]\nhome: discard\n")
	user := parse(t, userSource, full)
	e := Merge(org, user, nil, false)
	if e.Model.Endpoint.Value != "https://gw.corp" || e.Model.Key.Value.File == "" || e.UpstreamProxy.Value != "http://p:1" {
		t.Errorf("%+v", e.Model)
	}
	if e.Limits.Memory.Value != 1<<30 || e.Home.Value != "discard" || e.Policy[0].Value != "/etc/carrel/floor.rego" || len(e.Policy) != 3 {
		t.Errorf("%+v", e)
	}
}
