package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/needs"
)

func TestRefusedWorkspaces(t *testing.T) {
	base := tempDir(t)
	home, project := filepath.Join(base, "home"), filepath.Join(base, "home/project")
	state := filepath.Join(project, ".state")
	for _, d := range []string{filepath.Join(project, "sub"), state, filepath.Join(home, "other/sub")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(base, "file"), nil, 0o600), os.Symlink(home, filepath.Join(base, "alias"))); err != nil {
		t.Fatal(err)
	}
	for dir, why := range map[string]string{
		"/":                            "the whole machine",
		home:                           "home directory",
		base:                           "home directory",
		filepath.Join(base, "alias"):   "home directory",
		project:                        "Carrel's own state",
		state:                          "Carrel's own state",
		filepath.Join(base, "file"):    "not a directory",
		filepath.Join(base, "missing"): "does not exist",
	} {
		_, err := Open(context.Background(), dir, Options{State: state, Home: home})
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want a refusal with %q", dir, err, why)
		}
	}
	w, err := Open(context.Background(), filepath.Join(home, "other/sub"), Options{State: state, Home: home})
	if err != nil || w.Root() != filepath.Join(home, "other/sub") {
		t.Errorf("an ordinary directory: %v", err)
	}
}

func gitAt(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=u", "-c", "user.email=u@h", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func openAt(t *testing.T, dir string) (*Workspace, error) {
	t.Helper()
	return Open(context.Background(), dir, Options{State: "/nonexistent/state", Home: "/nonexistent/home"})
}

func TestRepositoriesReadAsData(t *testing.T) {
	dir := tempDir(t)
	main := filepath.Join(dir, "main")
	gitAt(t, dir, "init", "-q", main)
	w, err := openAt(t, main)
	if err != nil || w.Repository().Branch != "main" || w.Repository().Head != "" {
		t.Fatalf("before the first commit: %+v, %v", w, err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(main, "a/b"), 0o755), os.WriteFile(filepath.Join(main, "a/b/f"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	gitAt(t, main, "add", ".")
	gitAt(t, main, "commit", "-qm", "one")
	head := gitAt(t, main, "rev-parse", "HEAD")
	check := func(how, at, top, branch string) *Workspace {
		t.Helper()
		w, err := openAt(t, at)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if r := w.Repository(); w.Root() != top || r.Head != head || r.Branch != branch {
			t.Errorf("%s: root %s, %+v", how, w.Root(), r)
		}
		return w
	}
	check("loose reference, below the top", filepath.Join(main, "a/b"), main, "main")
	gitAt(t, main, "pack-refs", "--all")
	check("packed reference", main, main, "main")
	gitAt(t, main, "checkout", "-q", "--detach")
	check("detached", main, main, "")
	tree := filepath.Join(dir, "tree")
	gitAt(t, main, "worktree", "add", "-q", "-b", "side", tree)
	if r := check("linked work tree", tree, tree, "side"); !r.linked() || r.repo.Common != filepath.Join(main, ".git") {
		t.Errorf("linked work tree: %+v", r.repo)
	}
	gitAt(t, dir, "clone", "-q", "--depth=1", "file://"+main, filepath.Join(dir, "shallow"))
	check("shallow", filepath.Join(dir, "shallow"), filepath.Join(dir, "shallow"), "main")
	super := filepath.Join(dir, "super")
	gitAt(t, dir, "init", "-q", super)
	gitAt(t, super, "submodule", "--quiet", "add", main, "mod")
	if r := check("submodule as workspace", filepath.Join(super, "mod"), filepath.Join(super, "mod"), "main"); !r.linked() {
		t.Errorf("submodule: %+v", r.repo)
	}
	gitAt(t, dir, "clone", "-q", "--bare", main, filepath.Join(dir, "bare"))
	if _, err := openAt(t, filepath.Join(dir, "bare/hooks")); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "bare repository") {
		t.Errorf("bare: %v", err)
	}
}

// A .git file that names somebody else's repository is not followed.
func TestAttackGitPointerElsewhere(t *testing.T) {
	dir := tempDir(t)
	victim, project := filepath.Join(dir, "victim"), filepath.Join(dir, "project")
	gitAt(t, dir, "init", "-q", victim)
	if err := os.MkdirAll(project, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{victim + "/.git", "/etc", "../victim/.git", dir + "/missing", ""} {
		if err := os.WriteFile(filepath.Join(project, ".git"), []byte("gitdir: "+to+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if w, err := openAt(t, project); !errors.Is(err, ErrRefused) {
			t.Errorf("gitdir: %s: %+v, %v", to, w, err)
		}
	}
	if err := errors.Join(os.Remove(filepath.Join(project, ".git")), unix.Mkfifo(filepath.Join(project, ".git"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := openAt(t, project); !errors.Is(err, ErrRefused) {
		t.Errorf("a FIFO: %v", err)
	}
}

// A linked work tree's git directory is staged, too: commits at the desk do
// not reach the repository.
func TestLinkedWorktreeIsStaged(t *testing.T) {
	dir := tempDir(t)
	main, tree := filepath.Join(dir, "main"), filepath.Join(dir, "tree")
	gitAt(t, dir, "init", "-q", main)
	gitAt(t, main, "commit", "-q", "--allow-empty", "-m", "one")
	gitAt(t, main, "config", "remote.origin.url", "https://u:hunter2@example.com/x")
	gitAt(t, main, "worktree", "add", "-q", tree)
	s := &site{t: t, root: tree, state: tempDir(t), kind: StagingOverlay}
	layers := s.take(SeatOptions{}).Layers()
	if len(layers) != 2 || layers[1].Name != layerGit || layers[1].Lower != filepath.Join(main, ".git") || layers[1].Targets[0] != layers[1].Lower {
		t.Fatalf("layers: %+v", layers)
	}
	b, err := os.ReadFile(filepath.Join(layers[1].Upper, "config"))
	if err != nil || strings.Contains(string(b), "hunter2") || !strings.Contains(string(b), "https://example.com/x") {
		t.Errorf("the desk's git configuration: %s (%v)", b, err)
	}
}

func TestCredentialsLeaveTheGitConfiguration(t *testing.T) {
	clean := "[core]\n\tbare = false\n# https://u:p\\\n[remote \"origin\"]\n\turl = git@github.com:a/b\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch \"a@b\"]\n\tremote = origin\n"
	if got := withoutCredentials(clean); got != clean {
		t.Errorf("a configuration without credentials became\n%s", got)
	}
	for _, dirty := range []string{
		"[remote \"o\"]\n\turl = https://user:SECRET@h/x\n",
		"[remote \"o\"]\n\turl = https://SECRET@h/x\n",
		"[remote \"o\"]\n\turl = \"https://user:SECRET@h/x\"\n",
		"[remote \"o\"]\n\turl = https://user:\\\nSECRET@h/x\n",
		"[remote \"o\"]\n\tpushurl = ssh://git:SECRET@h/x\n",
		"[url \"https://x:SECRET@h/\"]\n\tinsteadOf = https://h/\n",
		"[http \"https://h/\"]\n\textraheader = AUTHORIZATION: basic SECRET\n",
		"[http]\n\tExtraHeader = \"a: \\\n SECRET\"\n",
		"[http] extraheader = SECRET\n",
		"[http]\n\tproxy = http://u:SECRET@proxy:3128\n",
		"[credential]\n\thelper = \"!echo SECRET\"\n[core]\n\tbare = false\n",
		"[credential \"https://h\"]\n\tusername = SECRET\n",
		"[CREDENTIAL] helper = SECRET\n",
		"; comment \\\n[credential]\n\thelper = SECRET\n",
		"[sendemail]\n\tsmtpPass = SECRET\n",
	} {
		if got := withoutCredentials(dirty); strings.Contains(got, "SECRET") {
			t.Errorf("%q keeps the secret: %q", dirty, got)
		}
	}
}

// A git directory of another name is cleaned of credentials like any other.
func TestCredentialsLeaveAGitDirectoryInsideTheTree(t *testing.T) {
	s := newSite(t, StagingOverlay)
	gitAt(t, s.root, "init", "-q", "--separate-git-dir", filepath.Join(s.root, "meta"))
	gitAt(t, s.root, "config", "core.worktree", s.root)
	gitAt(t, s.root, "config", "remote.origin.url", "https://u:hunter2@example.com/x")
	l := s.take(SeatOptions{}).Layers()
	b, err := os.ReadFile(filepath.Join(l[0].Upper, "meta/config"))
	if err != nil || len(l) != 1 || strings.Contains(string(b), "hunter2") || !strings.Contains(string(b), "https://example.com/x") {
		t.Errorf("%d layers; the desk's git configuration: %s (%v)", len(l), b, err)
	}
}

// A pull notes its URL in the reference logs as it was typed, and a store of
// credentials can lie beside them.
func TestAttackCredentialsBesideTheGitConfiguration(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		gitAt(t, s.root, "init", "-q", "-b", "main", ".")
		gitAt(t, s.root, "commit", "-q", "--allow-empty", "-m", "x")
		line := "%s %s A <a@b.c> 1795456578 +0000\tpull https://u:SECRET@h/x main: Fast-forward\n"
		name := strings.Repeat("0a", 20)
		for _, log := range []string{"logs/HEAD", "logs/refs/heads/main"} {
			b, err := os.ReadFile(filepath.Join(s.root, ".git", log))
			if err != nil {
				t.Fatal(err)
			}
			s.write(".git/"+log, string(b)+fmt.Sprintf(line, name, name))
		}
		s.write(".git/credentials", "https://u:SECRET@h\n")
		gitAt(t, s.root, "config", "include.path", "more/a")
		s.write(".git/more/a", "[include]\n\tpath = \"b\"\n[include] path = ../../outside\n[include] path = ../../.github/x\n")
		s.write(".github/x", "[credential]\n\thelper = mine\n")
		s.write(".git/more/b", "[http \"https://h/\"]\n\textraheader = AUTHORIZATION: basic SECRET\n")
		s.ws = nil
		seat := s.take(SeatOptions{})
		agent(t, seat, `grep -rl SECRET .git > found || true; cat .git/logs/HEAD .git/logs/refs/heads/main > logs; git log -g --oneline > reflog 2>&1 || true`)
		c := capture(t, seat)
		expect(t, c.Files, "create file found", "create file logs", "create file reflog")
		if found := contentOf(t, s, c, "found"); found != "" {
			t.Errorf("the desk shows the credential in %s", found)
		}
		if logs := contentOf(t, s, c, "logs"); strings.Count(logs, "pull https://h/x main") != 2 || strings.Count(logs, "A <a@b.c>") != 2 {
			t.Errorf("the logs are %s", logs)
		}
	})
}

// Work trees and submodules have logs of their own, a submodule has any name,
// and old repositories keep URLs in files.
func TestAttackCredentialsInOtherPlacesOfGit(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		gitAt(t, s.root, "init", "-q", "-b", "main", ".")
		gitAt(t, s.root, "commit", "-q", "--allow-empty", "-m", "x")
		name := strings.Repeat("0a", 20)
		line := fmt.Sprintf("%s %s A <a@b.c> 1795456578 +0000\tpull https://u:SECRET@h/x main: Fast-forward\n", name, name)
		for _, dir := range []string{"worktrees/w", "modules/m", "modules/deep/logs", "modules/refs"} {
			s.write(".git/"+dir+"/HEAD", name+"\n")
			s.write(".git/"+dir+"/logs/HEAD", line)
			s.write(".git/"+dir+"/logs/refs/heads/main", line)
			s.write(".git/"+dir+"/config", "[remote \"origin\"]\n\turl = https://u:SECRET@h/x\n")
		}
		s.write(".git/remotes/old", "URL: https://u:SECRET@h/x\nPull: main\n")
		s.write(".git/branches/old", "https://u:SECRET@h/x#main\n")
		s.ws = nil
		seat := s.take(SeatOptions{})
		agent(t, seat, `grep -rl SECRET .git > found || true; cat .git/remotes/old .git/branches/old > old`)
		c := capture(t, seat)
		if found := contentOf(t, s, c, "found"); found != "" {
			t.Errorf("the desk shows the credential in %s", found)
		}
		if old := contentOf(t, s, c, "old"); old != "URL: https://h/x\nPull: main\nhttps://h/x#main\n" {
			t.Errorf("what is left is %q", old)
		}
	})
}

// A log too long to be read is empty inside; the run is not refused for it.
func TestLongReferenceLog(t *testing.T) {
	s := newSite(t, StagingOverlay)
	gitAt(t, s.root, "init", "-q", "-b", "main", ".")
	gitAt(t, s.root, "commit", "-q", "--allow-empty", "-m", "x")
	s.write(".git/logs/HEAD", strings.Repeat("a long line\n", maxGitLog/10))
	s.ws = nil
	seat := s.take(SeatOptions{})
	agent(t, seat, `stat -c %s .git/logs/HEAD > size`)
	if size := contentOf(t, s, capture(t, seat), "size"); size != "0\n" {
		t.Errorf("inside it has %s bytes", size)
	}
}

func contentOf(t *testing.T, s *site, c *carrel.Change, name string) string {
	t.Helper()
	b, err := s.ws.opts.Blobs.Read(fileOf(t, c.Files, name).Digest, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What the agent left at its desk does not lead writes of the next start out
// of it.
func TestAttackLinkInTheLayer(t *testing.T) {
	s := newSite(t, StagingOverlay)
	outside := tempDir(t)
	gitAt(t, s.root, "init", "-q", ".")
	gitAt(t, s.root, "commit", "-q", "--allow-empty", "-m", "x")
	s.ws = nil
	seat, _ := s.run(`rm -rf .git; ln -s ` + outside + ` .git; echo work > work`)
	seat.Close()
	gitAt(t, s.root, "config", "remote.origin.url", "https://u:hunter2@h/")
	s.take(SeatOptions{})
	if names, err := os.ReadDir(outside); err != nil || len(names) != 0 {
		t.Errorf("outside now holds %v (%v)", names, err)
	}
}

// Where an overlay cannot be had a copy is made, and says why; asked for by
// name it is refused.
func TestStagingFallsBack(t *testing.T) {
	s := newSite(t, StagingAuto)
	s.write("a", "1\n")
	none := func(string, string) error { return errors.New("the kernel has none") }
	if _, err := s.open().Take(context.Background(), SeatOptions{Agent: "a", Staging: StagingOverlay, Probe: none}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the kernel has none; use --staging copy") {
		t.Errorf("an overlay where there is none: %v", err)
	}
	seat := s.take(SeatOptions{Probe: none})
	if seat.Staging() != StagingCopy || len(seat.Notes) == 0 || !strings.Contains(seat.Notes[0], "the kernel has none") {
		t.Fatalf("staging %s, notes %v", seat.Staging(), seat.Notes)
	}
	agent(t, seat, `echo 2 > a; echo x > new`)
	expect(t, capture(t, seat).Files, "modify file a", "create file new")
}

func mountAt(t *testing.T, at, kind, data string) {
	t.Helper()
	if err := unix.Mount(kind, at, kind, 0, data); err != nil {
		t.Fatalf("mounting %s: %v", kind, err)
	}
	t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
}

func TestCopyIsBounded(t *testing.T) {
	s := newSite(t, StagingCopy)
	for _, name := range []string{"a", "b", "c"} {
		s.write(name, "x")
	}
	_, err := s.open().Take(context.Background(), SeatOptions{Agent: "a", Staging: StagingCopy, Copy: CopyLimits{Files: 2}})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "exceeds 2 files") {
		t.Errorf("error: %v", err)
	}
	if desks, err := os.ReadDir(filepath.Join(s.state, "desks")); err != nil || len(desks) != 0 {
		t.Errorf("left behind: %v, %v", desks, err)
	}
}

// A desk started by root belongs to the user it runs as.
func TestOwnerOfADesk(t *testing.T) {
	needs.Root(t)
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("a", "1\n")
		if err := os.Chmod(s.root, 0o750); err != nil {
			t.Fatal(err)
		}
		seat := s.take(SeatOptions{OwnerUID: 54321, OwnerGID: 54322})
		l := seat.Layers()[0]
		for dir, mode := range map[string]uint32{l.private(): 0o750, seat.Home(): 0o700, seat.Outbox(): 0o700} {
			var st unix.Stat_t
			if err := unix.Lstat(dir, &st); err != nil || st.Uid != 54321 || st.Gid != 54322 || st.Mode&0o7777 != mode {
				t.Errorf("%s: %d:%d mode %o (%v)", dir, st.Uid, st.Gid, st.Mode&0o7777, err)
			}
		}
	})
}
