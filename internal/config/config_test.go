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

// TestRepositoryNarrowsAtOnceAndGrantsAfterTrust is the whole of what a
// repository's file may do.
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

func TestGrantsAreCanonical(t *testing.T) {
	a := Grants(parse(t, repoSource, "env: [B, A, A]\negress:\n  - {host: X.test, ports: [2, 1], addresses: [10.0.0.2, 10.0.0.1]}\n"))
	b := Grants(parse(t, repoSource, "egress:\n  - host: x.test.\n    ports: [1, 2]\n    addresses: [10.0.0.1, 10.0.0.2]\n# moved\nenv:\n- A\n- B\n"))
	da, err := GrantsDigest(a)
	if err != nil {
		t.Fatal(err)
	}
	if db, _ := GrantsDigest(b); da != db || len(a) != 3 {
		t.Errorf("%v and %v", a, b)
	}
	if got := a[0].String(); got != "the repository asks for egress x.test:1,2 at 10.0.0.1 at 10.0.0.2 (.carrel/config.yaml:3)" {
		t.Error(got)
	}
	if dc, _ := GrantsDigest(Grants(parse(t, repoSource, "env: [A, B]\n"))); dc == da {
		t.Error("different grants have one digest")
	}
}

func TestGrantsOfARepositoryAreEscapedAndCut(t *testing.T) {
	g := Grants(parse(t, repoSource, `env: ["A=\e[2J\u202e`+strings.Repeat("x", 5000)+`"]`))
	if s := g[0].String(); strings.ContainsAny(s, "\x1b\u202e") || len(s) > 400 {
		t.Errorf("%d bytes: %q", len(s), s)
	}
}

func TestTrust(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "trust.json")
	trust := OpenTrust(path)
	id := RepositoryID{"/src/app", "abc"}
	grants := Grants(parse(t, repoSource, "env: [A]\nro: [/opt]\n"))
	wantFresh := func(id RepositoryID, grants []Grant, want int) {
		t.Helper()
		if fresh, err := OpenTrust(path).Fresh(id, grants); err != nil || len(fresh) != want {
			t.Errorf("fresh: %v, %v, want %d", fresh, err, want)
		}
	}
	wantFresh(id, grants, 2)
	wantFresh(id, nil, 0)
	if err := trust.Accept(id, grants); err != nil {
		t.Fatal(err)
	}
	wantFresh(id, grants, 0)
	wantFresh(id, grants[:1], 0)
	more := Grants(parse(t, repoSource, "env: [A, SECRET]\nro: [/opt]\n"))
	wantFresh(id, more, 1)
	wantFresh(RepositoryID{"/src/copy", "abc"}, grants, 2) // another place
	wantFresh(RepositoryID{"/src/app", "def"}, grants, 2)  // another history
	if err := trust.Accept(id, grants[:1]); err != nil {
		t.Fatal(err)
	}
	wantFresh(id, grants, 1)
	if err := trust.Forget(id); err != nil {
		t.Fatal(err)
	}
	wantFresh(id, grants, 2)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func TestTrustInDoubtIsNoTrust(t *testing.T) {
	id := RepositoryID{"/src/app", "abc"}
	grants := []Grant{{Kind: "env", Value: "A"}}
	for name, spoil := range map[string]func(path string) error{
		"others may write": func(p string) error { return os.Chmod(p, 0o620) },
		"not JSON":         func(p string) error { return os.WriteFile(p, []byte("{"), 0o600) },
		"edited":           func(p string) error { return substitute(p, `"A"`, `"B"`) },
		"unknown field":    func(p string) error { return substitute(p, `"v"`, `"w": 1, "v"`) },
		"a link":           func(p string) error { return errs(os.Rename(p, p+"2"), os.Symlink(p+"2", p)) },
		"newer":            func(p string) error { return substitute(p, `"v": 1`, `"v": 2`) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "trust.json")
			trust := OpenTrust(path)
			if err := errs(trust.Accept(id, grants), spoil(path)); err != nil {
				t.Fatal(err)
			}
			if fresh, err := trust.Fresh(id, grants); err == nil {
				t.Errorf("fresh: %v without an error", fresh)
			}
			if err := trust.Accept(id, grants); err == nil {
				t.Error("a doubtful file was overwritten")
			}
		})
	}
}

func substitute(path, old, now string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Replace(string(raw), old, now, 1)), 0o600)
}

func errs(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestRememberKeepsWhatIsThere(t *testing.T) {
	for name, before := range map[string]string{
		"nothing": "", "a comment": "# mine\n", "an empty mapping": "profile:\n",
		"more": "# mine\nhome: keep # because\n\nprofile:\n  # known\n  codex: codex\nenv:\n  - A\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := Source{User, filepath.Join(t.TempDir(), "carrel", "config.yaml"), "/home/u"}
			if before != "" {
				if err := errs(os.MkdirAll(filepath.Dir(s.Path), 0o700), os.WriteFile(s.Path, []byte(before), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errs(RememberProfile(s, "claude", "claude-code"), RememberProfile(s, "claude", "mine"), RememberProfile(s, "yes", "no")); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(s.Path)
			if err != nil {
				t.Fatal(err)
			}
			f, err := Load(s)
			if err != nil {
				t.Fatalf("%v in %s", err, raw)
			}
			if f.Profile["claude"].Value != "mine" || f.Profile["yes"].Value != "no" {
				t.Errorf("%s", raw)
			}
			for _, kept := range []string{"# mine", "# because", "# known", "codex: codex", "- A"} {
				if strings.Contains(before, kept) && !strings.Contains(string(raw), kept) {
					t.Errorf("lost %q in:\n%s", kept, raw)
				}
			}
			if info, _ := os.Stat(s.Path); info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v", info.Mode())
			}
		})
	}
}

func TestRememberWritesNothingItCannotRead(t *testing.T) {
	s := Source{User, filepath.Join(t.TempDir(), "config.yaml"), "/home/u"}
	for _, before := range []string{"egres: []\n", "profile: [a]\n", "home: [\n"} {
		if err := os.WriteFile(s.Path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := RememberProfile(s, "claude", "mine"); err == nil {
			t.Errorf("%q: no error", before)
		}
		if raw, _ := os.ReadFile(s.Path); string(raw) != before {
			t.Errorf("%q became %q", before, raw)
		}
	}
}

func TestRememberFollowsALink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "dotfiles.yaml"), filepath.Join(dir, "config.yaml")
	if err := errs(os.WriteFile(real, []byte("home: keep\n"), 0o600), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	if err := RememberProfile(Source{User, link, ""}, "claude", "mine"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is gone: %v %v", info, err)
	}
	if raw, _ := os.ReadFile(real); !strings.Contains(string(raw), "claude: mine") {
		t.Errorf("%s", raw)
	}
}

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
