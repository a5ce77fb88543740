//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParentTraversalStaysInside(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("echo x > ../outside; echo x > "+h.dir+"/outside; echo x > ../../../outside; echo in > in; true"), 0)
		if h.exists("outside") {
			h.Error("a file appeared outside the workspace")
		}
		c := h.review()
		if len(c.Files) != 1 || c.Files[0].Path != "in" {
			h.Errorf("the change is %+v", c.Files)
		}
	})
}

func TestWorkspaceThatIsTooWideIsRefused(t *testing.T) {
	asEachUser(t, func(h *host) {
		if err := os.Symlink("/", filepath.Join(h.repo, "all")); err != nil {
			h.Fatal(err)
		}
		for _, ws := range []string{"/", h.home, h.dir, "/proc", filepath.Join(h.repo, "all")} {
			r := h.carrel("run", "--workspace", ws, "--", "true")
			if r.code != 125 || strings.TrimSpace(r.err) == "" {
				h.Errorf("workspace %s: %s", ws, r)
			}
		}
		h.expect(h.carrel("run", "--workspace", h.repo, "--", "cat", "main.sh"), 0, "echo main")
	})
}

func TestRenameSwapRaceWritesNothingOutside(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.write("repo/d/f", "0\n")
		script := `( for i in $(seq 300); do mv d real; ln -s ` + h.home + ` d; rm d; mv real d; done ) & for i in $(seq 300); do echo x > d/f; done 2>/dev/null; wait; echo x > d/f; echo end`
		h.expect(h.inside(script), 0, "end")
		h.approveAndApply()
		entries, err := os.ReadDir(h.home)
		if err != nil || len(entries) != 1 {
			h.Errorf("the home now has %v (%v)", entries, err)
		}
	})
}

// Each row is a file that something on the host would run or obey later. It
// must be named in the review and never be applied without being asked for.
func TestRiskyFilesAreNamedAndNeverAppliedByThemselves(t *testing.T) {
	names := []string{
		".claude/settings.json", ".mcp.json", ".codex/config.toml", ".cursor/mcp.json", "AGENTS.md", "CLAUDE.md",
		".vscode/tasks.json", ".vscode/settings.json", ".vscode/launch.json", ".idea/workspace.xml", ".envrc",
		".github/workflows/ci.yml", "action.yml", ".gitlab-ci.yml", "Jenkinsfile", "CODEOWNERS", ".github/dependabot.yml",
		"package.json", ".npmrc", "setup.py", "conftest.py", "build.rs", "binding.gyp",
		".gitattributes", ".gitmodules", ".husky/pre-commit", ".pre-commit-config.yaml",
		".carrel/config.yaml", ".carrel/policy.rego", "node_modules/.bin/eslint", ".venv/bin/python",
	}
	asEachUser(t, func(h *host) {
		script := "echo plain > notes.txt\n"
		for _, name := range names {
			script += "mkdir -p $(dirname " + name + "); echo '{}' > " + name + "; chmod +x " + name + "\n"
		}
		h.expect(h.inside(script, "--apply", "auto"), 0)
		for _, name := range names {
			if h.exists("repo/" + name) {
				h.Errorf("%s was applied without being asked for", name)
			}
		}
		c := h.review()
		for _, name := range names {
			f, ok := find(c.Files, name)
			if withheld, isWithheld := find(c.Withheld, name); isWithheld {
				f, ok = withheld, true
			}
			if !ok || f.severity() < 2 || f.Labels[0].Reason == "" {
				h.Errorf("%s: %+v", name, f)
			}
		}
		if f, ok := find(c.Files, "notes.txt"); ok && f.severity() > 1 {
			h.Errorf("notes.txt is labelled %+v", f.Labels)
		}
	})
}

func TestGitDirectoryIsNeverPartOfAChange(t *testing.T) {
	asEachUser(t, func(h *host) {
		r := h.inside(`printf '#!/bin/sh\ntouch ` + h.dir + `/ran\n' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout
			cp .git/hooks/post-checkout .git/hooks/pre-commit; cp .git/hooks/pre-commit .git/hooks/reference-transaction
			git config core.fsmonitor 'touch ` + h.dir + `/ran'; mv .git .git2; mkdir .git; cp -r .git2/* .git/; rm -rf .git2; echo ok > made`)
		h.expect(r, 0)
		before := h.read("repo/.git/config")
		for _, f := range append(h.review().Files, h.review().Withheld...) {
			if strings.HasPrefix(string(f.Path), ".git/") {
				h.Errorf("%s is part of the change", f.Path)
			}
		}
		h.approveAndApply("--branch", "made")
		h.git("checkout", "-q", "made")
		if h.exists("ran") || h.exists("repo/.git/hooks/post-checkout") || h.read("repo/.git/config") != before {
			h.Error("the repository's own data was changed")
		}
		if h.read("repo/made") != "ok\n" {
			h.Error("the change did not arrive")
		}
	})
}

func TestNestedRepositoryHooksAreWithheld(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("git init -q sub; echo touch > sub/.git/hooks/post-checkout; chmod +x sub/.git/hooks/post-checkout; echo x > sub/file"), 0)
		c := h.review()
		for _, f := range c.Files {
			if strings.Contains(string(f.Path), "/.git/") {
				h.Errorf("%s would be applied", f.Path)
			}
		}
		h.approveAndApply()
		if h.exists("repo/sub/.git") || !h.exists("repo/sub/file") {
			h.Error("want the file and not its repository")
		}
	})
}

func TestNothingIsLeftInTheTree(t *testing.T) {
	asEachUser(t, func(h *host) {
		before := h.start("", "ls", "-laR", "--time-style=full-iso").out
		h.expect(h.inside("echo x > new; rm main.sh; mkdir -p a/b; git add -A; git commit -q -m x"), 0)
		if after := h.start("", "ls", "-laR", "--time-style=full-iso").out; after != before {
			h.Errorf("the tree was\n%s\nand is\n%s", before, after)
		}
		if status := h.git("status", "--porcelain"); status != "" {
			h.Errorf("git status: %s", status)
		}
	})
}

func TestWindowsSpellingsAreWithheld(t *testing.T) {
	names := []string{"git~1/config", ".GIT/config", ".git./config", "con", "aux.txt", "trail ", "back\\slash", "a:b:$DATA"}
	asEachUser(t, func(h *host) {
		h.write("names", strings.Join(names, "\n")+"\n")
		h.write("repo/names", strings.Join(names, "\n")+"\n")
		h.expect(h.inside(`while IFS= read -r n; do mkdir -p "$(dirname "$n")"; echo x > "$n"; done < names; echo x > ok.txt`), 0)
		c := h.review()
		for _, name := range names {
			if _, ok := find(c.Files, name); ok {
				h.Errorf("%q would be applied", name)
			}
			top, _, _ := strings.Cut(name, "/") // a repository is withheld as a whole
			if f, ok := find(c.Withheld, top); !ok || len(f.Decision.Rules) == 0 {
				h.Errorf("%q is not withheld with a rule", name)
			}
		}
		if _, ok := find(c.Files, "ok.txt"); !ok {
			h.Error("ok.txt is missing")
		}
	})
}

func TestSpecialFilesAreReportedNotOpened(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("mkfifo pipe; "+probeBin+" listen; python3 -c pass; echo x > plain"), 0)
		c := h.review()
		if _, ok := find(c.Files, "pipe"); ok {
			h.Error("the FIFO would be applied")
		}
		if f, ok := find(c.Withheld, "pipe"); !ok || f.Kind != "special" {
			h.Errorf("the FIFO is %+v", f)
		}
		h.approveAndApply()
		if h.exists("repo/pipe") || !h.exists("repo/plain") {
			h.Error("want the plain file and not the FIFO")
		}
	})
}

func TestSetuidBitIsStrippedAndInert(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("cp /bin/bash s; chmod 6755 s; ./s -p -c 'grep -E \"CapEff|NoNewPrivs\" /proc/self/status'; echo '#!/bin/sh' > x; chmod 755 x"), 0, "NoNewPrivs:\t1")
		h.approveAndApply()
		info, err := os.Stat(filepath.Join(h.repo, "s"))
		if err != nil || info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			h.Errorf("applied with mode %v (%v)", info.Mode(), err)
		}
		if info, err := os.Stat(filepath.Join(h.repo, "x")); err != nil || info.Mode().Perm()&0o111 == 0 {
			h.Errorf("the executable bit is lost: %v %v", info, err)
		}
	})
}

func TestTruncateAndFriendsAreStaged(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("truncate -s 0 main.sh; fallocate -l 10 README.md; cp --reflink=auto README.md main.sh; : > README.md"), 0)
		if h.read("repo/main.sh") != "echo main\n" || h.read("repo/README.md") != "sample\n" {
			h.Error("the real tree was written")
		}
		if c := h.review(); len(c.Files) != 2 {
			h.Errorf("the change is %+v", c.Files)
		}
	})
}

func TestRenamesInsideWork(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("mkdir -p a b && echo 1 > a/x && mv a/x b/y && mv main.sh b/ && ln b/y b/z && cat b/y b/z b/main.sh"), 0, "1\n1\necho main")
	})
}

func TestPoisonedCacheDoesNotReachTheHost(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.write("home/.npm/_cacache/x", "clean\n")
		h.expect(h.inside("cd $npm_config_cache/_cacache; cat x; echo poison > x; cat x", "--cache", "npm"), 0, "clean\npoison")
		if h.read("home/.npm/_cacache/x") != "clean\n" {
			h.Error("the host's cache was written")
		}
	})
}

func TestPreparedTemporaryFilesAreNotFollowed(t *testing.T) {
	asEachUser(t, func(h *host) {
		victim := h.write("home/victim", "mine\n")
		for _, name := range []string{"carrel", "carrel-run", "carrel.sock"} {
			if err := os.Symlink(victim, filepath.Join(h.dir, "tmp", name)); err != nil {
				h.Fatal(err)
			}
		}
		h.expect(h.inside("echo theirs > /tmp/carrel; echo x > f"), 0)
		h.approveAndApply()
		if h.read("home/victim") != "mine\n" {
			h.Error("a prepared link was followed")
		}
	})
}

func TestUserKeepsEditingMeanwhile(t *testing.T) {
	asEachUser(t, func(h *host) {
		r := h.meanwhile("echo agent > theirs; echo ready; read x; cat mine; echo again >> theirs", func() { h.write("repo/mine", "user\n") })
		h.expect(r, 0, "user")
		h.approveAndApply()
		if h.read("repo/mine") != "user\n" || h.read("repo/theirs") != "agent\nagain\n" {
			h.Error("something was lost")
		}
	})
}
