package workspace

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/needs"
)

func TestStaging(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		for rel, content := range map[string]string{"a.txt": "one\n", "gone.txt": "x\n", "dir/b.txt": "b\n", "tree/c/d.txt": "d\n", "same.txt": "same\n", "tool.sh": "#!/bin/sh\n", "kind": "file\n"} {
			s.write(rel, content)
		}
		_, c := s.run(`
			echo two >> a.txt
			rm gone.txt
			rm -r tree
			mkdir -p new/deep empty
			echo n > new/deep/n.txt
			touch same.txt
			chmod +x tool.sh
			rm kind; mkdir kind; echo k > kind/k
			ln -s a.txt link
			rm -r dir; mkdir dir; echo other > dir/other.txt
		`)
		expect(t, c.Withheld)
		expect(t, c.Files,
			"modify file a.txt",
			"delete none dir/b.txt",
			"create file dir/other.txt",
			"create dir empty",
			"delete none gone.txt",
			"type dir kind",
			"create file kind/k",
			"create link link",
			"create file new/deep/n.txt",
			"mode file tool.sh",
			"delete none tree",
			"delete none tree/c",
			"delete none tree/c/d.txt",
		)
		if s.read("a.txt") != "one\n" || s.read("gone.txt") != "x\n" {
			t.Error("the tree was altered")
		}
		a := fileOf(t, c.Files, "a.txt")
		for d, want := range map[carrel.Digest]string{a.Digest: "one\ntwo\n", a.Before.Digest: "one\n"} {
			if got, err := s.ws.opts.Blobs.Read(d, 100); err != nil || string(got) != want {
				t.Errorf("frozen content %q (%v), want %q", got, err, want)
			}
		}
	})
	needs.AsUser(t, "^TestStaging$")
}

// A directory that is moved shows as deletions and creations, with contents
// that were never copied up (a privileged overlay notes a redirect).
func TestRenamedDirectory(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("old/x.txt", "x\n")
		s.write("old/sub/y.txt", "y\n")
		_, c := s.run(`mv old new; echo z > new/z.txt; rm new/x.txt`)
		expect(t, c.Files,
			"create file new/sub/y.txt",
			"create file new/z.txt",
			"delete none old",
			"delete none old/sub",
			"delete none old/sub/y.txt",
			"delete none old/x.txt",
		)
		if got, err := s.ws.opts.Blobs.Read(fileOf(t, c.Files, "new/sub/y.txt").Digest, 10); err != nil || string(got) != "y\n" {
			t.Errorf("content behind the redirect: %q, %v", got, err)
		}
	})
	needs.AsUser(t, "^TestRenamedDirectory$")
}

// A7: a link to a file outside is shown as a link; nobody opens its target.
func TestAttackLinkToOutsideIsNotFollowed(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		secret := filepath.Join(tempDir(t), "id_ed25519")
		if err := unix.Mkfifo(secret, 0o600); err != nil { // opening it would hang
			t.Fatal(err)
		}
		s.sh("ln -s " + secret + " committed")
		_, c := s.run(`ln -s ` + secret + ` planted; ln -s a fine; mv committed moved`)
		f := fileOf(t, c.Files, "planted")
		if f.Kind != carrel.FileLink || string(f.Target) != secret || !hasLabel(f, "link-out") {
			t.Errorf("planted: %+v", f)
		}
		if fine := fileOf(t, c.Files, "fine"); hasLabel(fine, "link-out") {
			t.Errorf("a link inside is labelled: %v", fine.Labels)
		}
	})
}

// A8: editing a hard link to an outside file leaves that file alone.
func TestAttackHardLinkToOutside(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		outside := filepath.Join(filepath.Dir(s.root), "config")
		if err := errors.Join(os.WriteFile(outside, []byte("mine\n"), 0o600), os.Link(outside, filepath.Join(s.root, "h"))); err != nil {
			t.Fatal(err)
		}
		_, c := s.run(`echo theirs > h`)
		expect(t, c.Files, "modify file h")
		if b, err := os.ReadFile(outside); err != nil || string(b) != "mine\n" {
			t.Errorf("the outside file now holds %q (%v)", b, err)
		}
	})
	needs.AsUser(t, "^TestAttackHardLinkToOutside$")
}

// B22, B23, B26: git directories, in any place and spelling, never come out.
func TestAttackGitDirectories(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.sh("git init -q . && echo ok > ok.txt")
		s.ws = nil
		_, c := s.run(`
			echo '#!/bin/sh' > .git/hooks/post-checkout
			git config core.fsmonitor /bin/evil
			mkdir -p sub .GIT/hooks 'win/.git::$INDEX_ALLOCATION' short/git~1 hfs/.g` + "\u200c" + `it
			git init -q sub; echo x > sub/code.c
			echo x > .GIT/hooks/pre-commit
			echo good > ok.txt
		`)
		expect(t, c.Files, "modify file ok.txt", "create file sub/code.c")
		expect(t, c.Withheld,
			"create dir .GIT",
			"create dir hfs/.g\u200cit",
			"create dir short/git~1",
			"create dir sub/.git",
			"create dir win/.git::$INDEX_ALLOCATION")
		for _, f := range c.Withheld {
			if f.Decision.Verdict != carrel.Deny || !hasLabel(f, "nested-repository") {
				t.Errorf("%s: %+v", f.Path, f.Decision)
			}
		}
	})
}

// B22: a git directory that was moved away and replaced is reported.
func TestAttackGitDirectoryReplaced(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.sh("git init -q .")
		_, c := s.run(`cp -r .git .git2; rm -rf .git; mkdir .git; echo x > .git/config; echo evil > .git2/hooks/pre-commit`)
		if f := c.Withheld; len(f) != 1 || f[0].Path != gitName {
			t.Errorf("withheld:\n%s", describe(f))
		}
		fileOf(t, c.Files, ".git2/hooks/pre-commit")
		if _, err := os.Stat(filepath.Join(s.root, ".git/HEAD")); err != nil {
			t.Error(err)
		}
	})
}

// Repositories inside the workspace that nobody touched are no news; what is
// done inside one's git directory is, and is withheld.
func TestNestedRepositories(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		for _, name := range []string{"quiet", "used", "gone"} {
			s.sh("git init -q " + name + "; echo x > " + name + "/f")
		}
		_, c := s.run(`echo y > quiet/f; echo '#!/bin/sh' > used/.git/hooks/pre-push; rm -rf gone`)
		expect(t, c.Files, "delete none gone", "delete none gone/f", "modify file quiet/f")
		expect(t, c.Withheld, "delete none gone/.git", "modify dir used/.git")
	})
}

// B29: special files are reported and never opened.
func TestAttackSpecialFilesAreNotOpened(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		done := make(chan *carrel.Change, 1)
		go func() {
			_, c := s.run(`mkfifo p; echo ok > file`)
			done <- c
		}()
		select {
		case c := <-done:
			expect(t, c.Files, "create file file")
			expect(t, c.Withheld, "create special p")
		case <-time.After(30 * time.Second):
			t.Fatal("the capture hangs")
		}
	})
	needs.AsUser(t, "^TestAttackSpecialFilesAreNotOpened$")
}

// B31: privileged bits are shown.
func TestAttackSetuid(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		_, c := s.run(`cp /bin/true s; chmod 6755 s; cp /bin/true plain`)
		if f := fileOf(t, c.Files, "s"); !hasLabel(f, "privileged") || f.Mode != 0o6755 {
			t.Errorf("s: mode %o, %v", f.Mode, f.Labels)
		}
		if f := fileOf(t, c.Files, "plain"); hasLabel(f, "privileged") {
			t.Errorf("plain: %v", f.Labels)
		}
	})
}

// Files and directories that forbid reading are read all the same, and keep
// their modes.
func TestModeZero(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		seat, c := s.run(`mkdir locked; echo x > locked/f; chmod 000 locked/f locked; echo y > g; chmod 0 g`)
		expect(t, c.Files, "create file g", "create dir locked", "create file locked/f")
		for _, name := range []string{"locked", "g"} {
			if f := fileOf(t, c.Files, name); f.Mode != 0 {
				t.Errorf("%s has mode %o in the change", name, f.Mode)
			}
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(seat.Layers()[0].private(), name), &st); err != nil || st.Mode&0o7777 != 0 {
				t.Errorf("%s has mode %o at the desk afterwards (%v)", name, st.Mode&0o7777, err)
			}
		}
	})
	needs.AsUser(t, "^TestModeZero$")
}

// I166: what git ignores is in the change all the same.
func TestAttackIgnoredFilesAreShown(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.sh("git init -q . && echo '*.log' > .gitignore")
		seat := s.take(SeatOptions{})
		agent(t, seat, `echo x > a.log; echo '*' > .git/info/exclude; echo y > b`)
		c := captureWith(t, seat, CaptureOptions{Decide: allowAll})
		expect(t, c.Files, "create file a.log", "create file b")
	})
}

// I167: huge, many and deep are bounded and said.
func TestAttackHugeFile(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		start := time.Now()
		_, c := s.run(`truncate -s 1T huge; truncate -s 40M sparse; echo ok > ok`)
		expect(t, c.Withheld, "create file huge")
		expect(t, c.Files, "create file ok", "create file sparse")
		if took := time.Since(start); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		if f := c.Withheld[0]; f.Size != 1<<40 || !strings.Contains(f.Decision.Reason, "1048576 MiB") {
			t.Errorf("huge: %+v", f)
		}
	})
	needs.AsUser(t, "^TestAttackHugeFile$")
}

// What lies far from a file's start has its labels, too: padding hides nothing
// that review would compare.
func TestAttackPaddedContent(t *testing.T) {
	s := newSite(t, StagingCopy)
	_, c := s.run(`for f in key bidi; do yes "// nothing to see" | head -c 600000 > $f; done; printf '\n-----BEGIN OPENSSH PRIVATE KEY-----\n' >> key; printf '\nif /*\342\200\256*/\n' >> bidi`)
	if f := fileOf(t, c.Files, "key"); !hasLabel(f, "secret") {
		t.Errorf("key: %v", f.Labels)
	}
	if f := fileOf(t, c.Files, "bidi"); !hasLabel(f, "invisible-characters") {
		t.Errorf("bidi: %v", f.Labels)
	}
}

func TestAttackTooManyFiles(t *testing.T) {
	s := newSite(t, StagingOverlay)
	seat := s.take(SeatOptions{})
	agent(t, seat, `for i in $(seq 60); do echo $i > f$i; done`)
	_, err := seat.Capture(context.Background(), CaptureOptions{Decide: allowAll, Limits: Limits{Files: 50}})
	if !errors.Is(err, errTooMany) || !strings.Contains(err.Error(), "more than 50 paths") {
		t.Errorf("error: %v", err)
	}
	if c := captureWith(t, seat, CaptureOptions{Decide: allowAll, Limits: Limits{Files: 70}}); len(c.Files) != 60 {
		t.Errorf("%d files", len(c.Files))
	}
}

func TestAttackTooMuchContent(t *testing.T) {
	s := newSite(t, StagingOverlay)
	seat := s.take(SeatOptions{})
	agent(t, seat, `for i in 1 2 3; do head -c 400000 /dev/zero > f$i; done`)
	_, err := seat.Capture(context.Background(), CaptureOptions{Decide: allowAll, Limits: Limits{Bytes: 1 << 20}})
	if !errors.Is(err, errTooMany) || !strings.Contains(err.Error(), "more than 1 MiB") {
		t.Errorf("error: %v", err)
	}
	if c := captureWith(t, seat, CaptureOptions{Decide: allowAll, Limits: Limits{Bytes: 2 << 20}}); len(c.Files) != 3 {
		t.Errorf("%d files", len(c.Files))
	}
}

func TestAttackDeepTree(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		seat, c := s.run(`
			echo ok > ok
			perl -e 'for (1..2000) { mkdir "d" or die; chdir "d" or die } open F, ">f" or die'
		`)
		expect(t, c.Files, "create file ok")
		if len(c.Withheld) != 1 || !hasLabel(c.Withheld[0], "too-deep") {
			t.Errorf("withheld:\n%.500s", describe(c.Withheld))
		}
		seat.Close()
	})
	needs.AsUser(t, "^TestAttackDeepTree$")
}

func TestAttackLongNames(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		name := strings.Repeat("n", 255)
		_, c := s.run(`perl -e 'for (1..20) { mkdir "` + name + `" or die; chdir "` + name + `" or die } open F, ">f" or die'`)
		expect(t, c.Files)
		if len(c.Withheld) != 1 || !hasLabel(c.Withheld[0], "too-deep") || len(c.Withheld[0].Path) > 4096 {
			t.Errorf("withheld:\n%.500s", describe(c.Withheld))
		}
	})
}

// A name that is no UTF-8 and one that acts on a terminal are kept exactly.
func TestStrangeNames(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		seat := s.take(SeatOptions{})
		agent(t, seat, `touch "$(printf 'a\377b')" "$(printf 'esc\033]52;c;x\a')" "$(printf 'e\314\201')"`)
		var mu sync.Mutex
		paths := map[string]carrel.Text{}
		c := captureWith(t, seat, CaptureOptions{Decide: func(_ context.Context, a carrel.Action) carrel.Decision {
			mu.Lock()
			defer mu.Unlock()
			paths[a.Path] = a.RawPath
			return carrel.Decision{Verdict: carrel.Allow}
		}})
		for _, f := range c.Files {
			if !hasLabel(f, "strange-name") {
				t.Errorf("%q: %v", f.Path, f.Labels)
			}
		}
		if paths["/workspace/a\uFFFDb"] != "/workspace/a\377b" || paths["/workspace/\u00e9"] != "/workspace/e\u0301" || len(paths) != 3 {
			t.Errorf("decided paths: %q", paths)
		}
	})
}

// Denied files are kept back, and the default is to deny.
func TestDeniedFilesAreWithheld(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("keep", "x")
		seat := s.take(SeatOptions{})
		agent(t, seat, `echo a > allowed; echo b > denied; echo c > asked; rm keep`)
		decide := func(_ context.Context, a carrel.Action) carrel.Decision {
			switch {
			case a.Operation == carrel.OpDelete:
				return carrel.Decision{}
			case a.Path == "/workspace/denied":
				return carrel.Decision{Verdict: "surely"}
			case a.Path == "/workspace/asked":
				return carrel.Decision{Verdict: carrel.Ask}
			}
			return carrel.Decision{Verdict: carrel.Allow}
		}
		c := captureWith(t, seat, CaptureOptions{Decide: decide, Running: true})
		expect(t, c.Files, "create file allowed", "create file asked")
		expect(t, c.Withheld, "create file denied", "delete none keep")
		if c := captureWith(t, seat, CaptureOptions{}); len(c.Files) != 0 || len(c.Withheld) != 4 {
			t.Errorf("without anybody to decide:\n%s", describe(c.Files))
		}
	})
}

// A file that is written to all the time is withheld, not frozen half.
func TestFileThatDoesNotHoldStill(t *testing.T) {
	s := newSite(t, StagingCopy)
	seat := s.take(SeatOptions{})
	p := filepath.Join(seat.Layers()[0].Copy, "log")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = f.WriteAt([]byte(time.Now().String()), 1000)
			}
		}
	})
	c := captureWith(t, seat, CaptureOptions{Decide: allowAll, Running: true})
	close(stop)
	wg.Wait()
	if len(c.Files) != 0 || len(c.Withheld) != 1 || !hasLabel(c.Withheld[0], "unsettled") {
		t.Errorf("files:\n%swithheld:\n%s", describe(c.Files), describe(c.Withheld))
	}
	if c := capture(t, seat); len(c.Files) != 1 {
		t.Errorf("once it holds still:\n%s", describe(c.Withheld))
	}
}

// What review would not show of the agent's message is not in it: else it went
// into the commit unseen.
func TestAttackMessageBelowTheFold(t *testing.T) {
	s := newSite(t, StagingOverlay)
	seat := s.take(SeatOptions{})
	agent(t, seat, `echo x > x`)
	text := "Add x\n" + strings.Repeat("ä", 2000) + "unseen\n" + strings.Repeat("\n", 200) + "unseen\n"
	if err := os.WriteFile(filepath.Join(seat.Outbox(), carrel.MessageFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := captureWith(t, seat, CaptureOptions{Decide: allowAll, Running: true})
	lines := strings.Split(string(c.Message), "\n")
	if strings.Contains(string(c.Message), "unseen") || !strings.HasPrefix(string(c.Message), "Add x\nää") || len(lines) > 100 || len(lines[1]) > 1000 {
		t.Errorf("%q", c.Message)
	}
}

// The agent's message is text, cut, and acts on nothing.
func TestMessage(t *testing.T) {
	s := newSite(t, StagingOverlay)
	seat := s.take(SeatOptions{})
	agent(t, seat, `echo x > x`)
	text := "Add x\r\n\r\nBecause \x1b]52;c;eA==\a\u202Eit\u2066 is\x00 needed\n" + strings.Repeat("long ", 10_000)
	if err := os.WriteFile(filepath.Join(seat.Outbox(), carrel.MessageFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := captureWith(t, seat, CaptureOptions{Decide: allowAll, Running: true})
	if m := string(c.Message); !strings.HasPrefix(m, "Add x\n\nBecause ]52;c;eA==it is needed\nlong") || len(m) > maxMessage {
		t.Errorf("message: %.80q, %d bytes", m, len(m))
	}
	if err := errors.Join(os.Remove(filepath.Join(seat.Outbox(), carrel.MessageFile)), os.Symlink("/etc/passwd", filepath.Join(seat.Outbox(), carrel.MessageFile))); err != nil {
		t.Fatal(err)
	}
	if c := capture(t, seat); c.Message != "" {
		t.Errorf("a link was followed: %.80q", c.Message)
	}
}

// C46: a directory that looks like a repository was there before; that the
// agent alters only what git would run in it is seen.
func TestAttackSettingsOfAHiddenRepository(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		for _, name := range []string{"testdata/x/HEAD", "testdata/x/config", "testdata/x/objects/pack/p", "testdata/x/refs/heads/h", "plain/config", "plain/hooks/h"} {
			s.write(name, "ref: refs/heads/main\n")
		}
		_, c := s.run(`echo evil > testdata/x/config; mkdir testdata/x/hooks; echo evil > testdata/x/hooks/post-checkout; echo fine > plain/config; echo fine > plain/hooks/h`)
		for name, want := range map[string]bool{"testdata/x/config": true, "testdata/x/hooks/post-checkout": true, "plain/config": false, "plain/hooks/h": false} {
			if f := fileOf(t, c.Files, name); hasLabel(f, "bare-repository") != want {
				t.Errorf("%s: %+v", name, f.Labels)
			}
		}
	})
}
