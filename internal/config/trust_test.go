package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
