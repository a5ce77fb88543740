package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	userSource = Source{User, "/home/u/.config/carrel/config.yaml", "/home/u"}
	orgSource  = Source{Organisation, "/etc/carrel/config.yaml", "/home/u"}
	repoSource = Source{Repository, RepositoryPath, "/home/u"}
)

const full = `# everything the user may say
egress:
  - host: api.example.com
  - {host: "*.ok.test", ports: [8443], protocol: tls, ech: true}
services: [{name: db, address: "127.0.0.1:5432"}]
env: [GOFLAGS, "CI=1"]
ro: [~/notes, /opt/data]
cache: [go, npm]
hide: [.env, sub/.env.local]
limits: {memory: 4G, pids: 512, wall: 1h30m, disk: 1.5GiB, best_effort: true}
home: keep
staging: overlay
profile:
  claude: claude-code
  "./run.sh": any
profiles:
  mine: {anything: [goes, here]}
model:
  endpoint: https://gateway.example.com
  key: {file: ~/keys/model}
policy: [team.rego, /etc/policies]
upstream_proxy: http://proxy.example.com:3128
extra_roots: [corp.pem]
identity: {name: Ada, email: ada@example.com}
`

func parse(t *testing.T, s Source, text string) *File {
	t.Helper()
	f, err := Parse(s, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEverythingIsRead(t *testing.T) {
	f := parse(t, userSource, full)
	e := Merge(nil, f, nil, false)
	if len(e.Egress) != 2 || e.Egress[1].Value.Host != "*.ok.test" || !slices.Equal(e.Egress[1].Value.Ports, []int{8443}) || !e.Egress[1].Value.ECH {
		t.Errorf("egress: %+v", e.Egress)
	}
	if got := e.Egress[1].Origin.String(); got != userSource.Path+":4" {
		t.Errorf("origin: %s", got)
	}
	l := e.Limits
	if l.Memory.Value != 4<<30 || l.Pids.Value != 512 || l.Wall.Value != Duration(90*time.Minute) || l.Disk.Value != 3<<29 || !l.BestEffort.Value {
		t.Errorf("limits: %+v", l)
	}
	if e.RO[0].Value != "/home/u/notes" || e.Policy[0].Value != "/home/u/.config/carrel/team.rego" || e.Model.Key.Value.File != "/home/u/keys/model" {
		t.Errorf("paths: %+v %+v %+v", e.RO, e.Policy, e.Model)
	}
	if p := e.Profile["./run.sh"]; p.Value != "any" || p.Origin.Layer != User || p.Origin.Line != 15 {
		t.Errorf("profile: %+v", e.Profile)
	}
	if e.Identity.Value.Email != "ada@example.com" || e.Home.Value != "keep" || e.UpstreamProxy.Value == "" || len(e.Profiles) != 1 {
		t.Errorf("%+v", e)
	}
}

func TestEmptyMeansNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "egress:\nlimits:\nhome:\n", "{}"} {
		f := parse(t, userSource, text)
		if e := Merge(f, f, f, true); len(e.Egress)+len(e.Env)+len(e.RO)+len(e.Services) != 0 || e.Home.IsSet() || e.Limits.Memory.IsSet() {
			t.Errorf("%q: %+v", text, e)
		}
	}
}

func TestBadFilesNameFileAndLine(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"misspelt key":       {"egres:\n  - host: a\n", `:1: "egres" is not known in the file; did you mean "egress"?`},
		"misspelt inner key": {"egress:\n  - hots: a\n", `:2: "hots" is not known in an item of egress; did you mean "host"?`},
		"unknown key":        {"home: keep\nzzz: 1\n", `:2: "zzz" is not known in the file; known are cache, `},
		"merge key":          {"egress:\n  - <<: {host: a}\n", `:2: "<<" is not known`},
		"key twice":          {"home: keep\nhome: discard\n", `:2: "home" is already said in line 1`},
		"profile twice":      {"profile:\n  a: b\n  a: c\n", `:3: "a" is already said`},
		"raw key twice":      {"profiles:\n  x: {a: 1, a: 2}\n", `:2: "a" is already said`},
		"anchor":             {"env: &x [A]\n", `:1: anchors and aliases`},
		"alias":              {"env: [A]\nro: *x\n", `unknown anchor`},
		"tag":                {"env: !!binary [A]\n", `:1: tags`},
		"two documents":      {"home: keep\n---\nhome: keep\n", `a second document`},
		"list for value":     {"home: [keep]\n", `:1: home must be one value`},
		"value for list":     {"env: A\n", `:1: env must be a list`},
		"value for mapping":  {"limits: 4G\n", `:1: limits must be a mapping`},
		"list at the root":   {"- a\n", `:1: the file must be a mapping`},
		"empty item":         {"env:\n  -\n", `:2: empty item in env`},
		"text for a port":    {"egress:\n  - host: a\n    ports: [\"443\"]\n", `:3: `},
		"port out of range":  {"egress:\n  - {host: a, ports: [0]}\n", `:2: port 0`},
		"bad egress address": {"egress:\n  - {host: a, addresses: [b]}\n", `:2: "b" is neither an address`},
		"no host":            {"egress:\n  - {ports: [1]}\n", `:2: an egress rule needs a host`},
		"unknown protocol":   {"egress:\n  - {host: a, protocol: udp}\n", `:2: "udp" is neither tls`},
		"bad size":           {"limits: {memory: 4 potatoes}\n", `:1: "4 potatoes" is not a size`},
		"bad duration":       {"limits:\n  wall: 30\n", `:2: "30" is not a length of time`},
		"negative":           {"limits: {pids: -1}\n", `:1: pids`},
		"bad home":           {"home: maybe\n", `:1: "maybe" is neither keep nor discard`},
		"bad service":        {"services: [{name: A b, address: \"x:1\"}]\n", `:1: "A b" cannot be the name`},
		"bad address":        {"services: [{name: db, address: \"5432\"}]\n", `:1: "5432" is not an address`},
		"bad env":            {"env: [\"A B=1\"]\n", `:1: "A B=1" is not NAME`},
		"hide outside":       {"hide: [\"../x\"]\n", `:1: "../x" is not a clean path below`},
		"hide absolute":      {"hide: [/etc]\n", `:1: "/etc" is not`},
		"two keys":           {"model: {key: {env: A, file: /b}}\n", `:1: a key comes from one place`},
		"no YAML":            {"home: keep\n\tx: [\n", `:2: `},
		"control characters": {"\"a\\u202eb\": 1\n", `\u{202e}`},
		"invalid UTF-8":      {"home: \xff\n", `UTF-8`},
		"deep":               {"profiles:\n  x: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), `nested deeper`},
		"huge":               {"# " + strings.Repeat("x", maxFile), `larger than`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(userSource, []byte(c.text))
			if err == nil || !strings.HasPrefix(err.Error(), userSource.Path+":") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s", err, c.want)
			}
		})
	}
}

// TestRepositoryMaySayOnlyWhatConcernsIt: attack 53; a repository that could
// name the model's endpoint or a policy would own the run.
// TestRepositoryNarrowsAtOnceAndGrantsAfterTrust is the whole of what a
// repository's file may do.
func TestParseLimits(t *testing.T) {
	flag := Origin{User, "--limit", 0}
	l, err := ParseLimits("memory=4G,pids=512,wall=30m,disk=2G", flag)
	if err != nil || l.Memory.Value != 4<<30 || l.Pids.Value != 512 || l.Wall.Value != Duration(30*time.Minute) || l.Disk.Value != 2<<30 || !l.Disk.IsSet() {
		t.Errorf("%+v %v", l, err)
	}
	for _, bad := range []string{"", "memory", "memory=", "memory=-1G", "memory=0", "pids=0", "pids=x", "wall=5", "cpu=2", "memroy=4G", "memory=99999999999999G", "memory=NaN"} {
		if _, err := ParseLimits(bad, flag); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if _, err := ParseLimits("memroy=4G", flag); !strings.Contains(err.Error(), `did you mean "memory"?`) {
		t.Error(err)
	}
	for text, want := range map[string]Size{"1": 1, "1B": 1, "1K": 1 << 10, "1KiB": 1 << 10, "2M": 2 << 20, "1.5G": 3 << 29, "1T": 1 << 40} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %d %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "G", "1X", "1GG", "1 G", "1e400", "0.1"} {
		if got, err := ParseSize(bad); err == nil {
			t.Errorf("%q: %d", bad, got)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if f, err := Load(Source{User, filepath.Join(dir, "none.yaml"), ""}); err != nil || f == nil {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(Source{User, dir, ""}); err == nil {
		t.Error("a directory was read")
	}
	s := Source{User, filepath.Join(dir, "config.yaml"), ""}
	if err := os.WriteFile(s.Path, []byte("home: keep\n"), 0o664); err != nil {
		t.Fatal(err)
	}
	if f, err := Load(s); err != nil || f.Home.Value != "keep" {
		t.Errorf("%+v %v", f, err)
	}
	if err := os.Chmod(s.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(s); err == nil || !strings.Contains(err.Error(), "written by everybody") {
		t.Errorf("a file that everybody may write: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(full)
	f.Add("egress: [{host: a}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range []Source{userSource, repoSource} {
			file, err := Parse(s, []byte(text))
			if err != nil {
				if file != nil || !strings.HasPrefix(err.Error(), s.Path+":") {
					t.Errorf("%v", err)
				}
				continue
			}
			if _, err := GrantsDigest(Grants(file)); err != nil {
				t.Error(err)
			}
		}
	})
}
