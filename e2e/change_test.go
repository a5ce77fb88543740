//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestApplyNeedsAnApproval(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("echo x > made"), 0)
		h.must("review", "--stat", "--no-pager")
		h.expect(h.carrel("apply"), 4, "approve")
		if h.exists("repo/made") {
			h.Fatal("applied without an approval")
		}
		h.must("approve", "--reason", "test")
		h.must("apply")
		if h.read("repo/made") != "x\n" {
			h.Error("not applied")
		}
	})
}

func TestApprovalHoldsForTheReviewedChangeOnly(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("echo good > made"), 0)
		h.must("review", "--stat", "--no-pager")
		h.must("approve", "--reason", "test")
		h.expect(h.inside("echo bad > made"), 0)
		r := h.carrel("apply")
		if r.code == 0 || h.exists("repo/made") && h.read("repo/made") != "good\n" {
			h.Errorf("what was not shown was applied\n%s", r)
		}
		h.approveAndApply()
		if h.read("repo/made") != "bad\n" {
			h.Error("the new change was not applied after its own approval")
		}
	})
}

func TestDeniedChangeIsNotApplied(t *testing.T) {
	h := asUser(t)
	h.expect(h.inside("echo x > made"), 0)
	h.must("review", "--stat", "--no-pager")
	h.must("deny", "--reason", "no")
	if r := h.carrel("apply"); r.code != 3 || h.exists("repo/made") {
		h.Errorf("a denied change: %s", r)
	}
}

func TestMovedTargetIsNeverOverwritten(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("echo agent >> main.sh; echo x > new; rm README.md"), 0)
		h.must("review", "--stat", "--no-pager")
		h.must("approve", "--reason", "test")
		time.Sleep(20 * time.Millisecond)
		h.write("repo/main.sh", "user\n")
		h.write("repo/new", "user\n")
		h.write("repo/README.md", "user\n")
		r := h.carrel("apply")
		if r.code == 0 {
			h.Errorf("apply over moved files: %s", r)
		}
		for _, name := range []string{"main.sh", "new", "README.md"} {
			if h.read("repo/"+name) != "user\n" {
				h.Errorf("%s was overwritten", name)
			}
		}
	})
}

func TestTargetDirectoryReplacedByALink(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("mkdir sub; echo x > sub/file; echo y > top"), 0)
		h.must("review", "--stat", "--no-pager")
		h.must("approve", "--reason", "test")
		if err := os.Symlink(h.home, filepath.Join(h.repo, "sub")); err != nil {
			h.Fatal(err)
		}
		if r := h.carrel("apply"); r.code == 0 {
			h.Errorf("apply through a link: %s", r)
		}
		if h.exists("home/file") {
			h.Error("written through a link out of the tree")
		}
		_ = os.Remove(filepath.Join(h.repo, "sub"))
		h.must("apply")
		if h.read("repo/sub/file") != "x\n" {
			h.Error("not applied once the link is gone")
		}
	})
}

func TestIgnoredFilesAreInTheChange(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.write("repo/.gitignore", "*.log\nout/\n")
		h.write("repo/kept.txt", "kept\n")
		h.git("add", "-A")
		h.git("commit", "-q", "-m", "ignore")
		h.expect(h.inside("echo x > a.log; mkdir out; echo y > out/b; echo z > c; echo c >> .git/info/exclude; git update-index --assume-unchanged main.sh; echo more >> main.sh; git update-index --skip-worktree kept.txt; echo more >> kept.txt"), 0)
		c := h.review()
		for _, name := range []string{"a.log", "out/b", "c", "main.sh", "kept.txt"} {
			if _, ok := find(c.Files, name); !ok {
				h.Errorf("%s is not in the change", name)
			}
		}
	})
}

func TestOddSizesAndNamesAreBounded(t *testing.T) {
	asEachUser(t, func(h *host) {
		long := strings.Repeat("n", 255)
		script := "truncate -s 10G sparse; touch " + long + "; d=.; for i in $(seq 300); do d=$d/dddddddddd; done; mkdir -p $d 2>/dev/null; touch $'bad\\xff'; echo x > plain"
		h.expect(h.inside(script), 0)
		started := time.Now()
		r := h.carrel("review", "--json")
		if took := time.Since(started); took > 20*time.Second {
			h.Errorf("review took %v", took)
		}
		if r.code != 0 && strings.TrimSpace(r.err) == "" {
			h.Errorf("refused without a word: %s", r)
		}
		if u := size(h.dir + "/state"); u > 12<<30 {
			h.Errorf("the state is %d bytes", u)
		}
	})
}

func TestTenThousandFiles(t *testing.T) {
	h := asUser(t)
	h.expect(h.inside("mkdir many; cd many; for i in $(seq 10000); do echo $i > $i; done"), 0)
	started := time.Now()
	h.must("review", "--stat", "--no-pager")
	reviewed := time.Since(started)
	h.must("approve", "--reason", "test")
	started = time.Now()
	h.must("apply")
	h.Logf("10,000 files: review %v, apply %v", reviewed, time.Since(started))
	if h.read("repo/many/10000") != "10000\n" {
		h.Error("not applied")
	}
}

func TestCommitIsTheHostUsers(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("git config user.name Mallory; git config user.email m@evil.test; export GIT_AUTHOR_NAME=Mallory GIT_AUTHOR_DATE=2001-01-01T00:00:00Z; echo x > f; git add f; git commit -q -m 'signed off' ; git replace -f HEAD~1 HEAD; git log -1 --format=%an"), 0, "Mallory")
		h.approveAndApply("--branch", "made")
		if got := h.git("log", "-1", "--format=%an <%ae> %cn", "made"); got != "Example User <user@example.com> Example User" {
			h.Errorf("the commit is by %s", got)
		}
		if got := h.git("rev-parse", "made^"); got != h.git("rev-parse", "main") {
			h.Errorf("the parent is %s", got)
		}
	})
}

func TestUnappliedWorkIsResumed(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("echo one > f"), 0)
		h.expect(h.inside("cat f; echo two >> f"), 0, "one")
		h.expect(h.inside("cat f", "--fresh"), 1)
		if h.exists("repo/f") {
			h.Error("unapplied work is in the tree")
		}
	})
}

func TestTwoDesksDoNotSeeEachOther(t *testing.T) {
	h := asUser(t)
	var other result
	first := h.meanwhile("echo a > a; echo ready; read x; ls", func() {
		other = h.carrel("run", "--fresh", "--", "sh", "-c", "echo b > b; ls")
	}, "--fresh")
	h.expect(other, 0, "b")
	if strings.Contains(other.out, "a\n") {
		h.Errorf("the second desk sees the first\n%s", other)
	}
	h.expect(first, 0, "a")
	if strings.Contains(first.out, "b\n") {
		h.Errorf("the first desk sees the second\n%s", first)
	}
}

func TestResultFileTellsTheWhole(t *testing.T) {
	h := asUser(t)
	r := h.inside("echo x > f; "+probeBin+" resolve evil.test; exit 5", "--result", h.dir+"/result.json")
	h.expect(r, 5)
	for _, want := range []string{`"run_`, `"chg_`, `"enforced"`, `"digest"`} {
		if !strings.Contains(h.read("result.json"), want) {
			h.Errorf("the result lacks %s:\n%s", want, h.read("result.json"))
		}
	}
}

func TestNotARepository(t *testing.T) {
	h := asUser(t)
	if err := os.RemoveAll(filepath.Join(h.repo, ".git")); err != nil {
		h.Fatal(err)
	}
	h.expect(h.inside("cat main.sh; echo x > made"), 0, "echo main")
	if r := h.carrel("review", "--stat", "--no-pager"); r.code != 0 {
		h.Fatal(r)
	}
	h.must("approve", "--reason", "test")
	if r := h.carrel("apply", "--branch", "x"); r.code == 0 {
		h.Errorf("a branch without a repository: %s", r)
	}
	h.must("apply")
	if !h.exists("repo/made") {
		h.Error("not applied")
	}
}

func TestMemoryAndProcessesAreLimited(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside(probeBin+" alloc 64", "--limit", "memory=512M"), 0)
		r := h.inside(probeBin+" alloc 2000; echo survived", "--limit", "memory=512M")
		if r.code != 125 && strings.Contains(r.out, "worked") {
			h.Errorf("2000 MiB under a limit of 512\n%s", r)
		}
		r = h.inside(`perl -e 'for (1..300) { my $p = fork; die "fork: $!\n" unless defined $p; $p or sleep(60), exit }'`, "--limit", "pids=64")
		if r.code == 0 || !strings.Contains(r.err, "fork") {
			h.Errorf("300 processes under a limit of 64\n%s", r)
		}
		h.expect(h.inside("sleep 30", "--limit", "wall=1s"), 143, "wall")
	})
}

func TestDiskIsLimited(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("head -c 10M /dev/zero > small; echo fine", "--limit", "disk=50M", "--fresh"), 0, "fine")
		r := h.inside("head -c 200M /dev/zero > big; sleep 3; echo survived", "--limit", "disk=50M")
		if strings.Contains(r.out, "survived") {
			h.Errorf("200 MiB under a limit of 50\n%s", r)
		}
		h.expect(h.inside("head -c 200M /dev/zero > /dev/shm/x; head -c 20M /dev/zero > /tmp/y; echo end", "--fresh"), 0, "end")
	})
}

func TestBadInputIsNamed(t *testing.T) {
	h := asUser(t)
	path := h.write("config/carrel/config.yaml", "egress: []\negresss: []\n")
	h.expect(h.inside("true"), 125, "egresss", "2")
	if err := os.Remove(path); err != nil {
		h.Fatal(err)
	}
	h.expect(h.inside("true", "--limit", "memory=lots"), 125, "memory")
	h.expect(h.inside("true", "--allow", "https://x/y"), 125, "allow")
	h.expect(h.carrel("review", "--no-such"), 2)
	h.expect(h.carrel("run"), 125, "no command")
}
