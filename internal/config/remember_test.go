package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
