//go:build linux

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const canary = "canary-7d1f0b"

func (h *host) unseen(r result) {
	h.Helper()
	if strings.Contains(r.out+r.err, canary) {
		h.Errorf("the canary was seen inside\n%s", r)
	}
}

func TestHomeSecretsDoNotExist(t *testing.T) {
	asEachUser(t, func(h *host) {
		script := "cat main.sh\n"
		for _, name := range []string{
			".ssh/id_ed25519", ".aws/credentials", ".netrc", ".config/gh/hosts.yml", ".docker/config.json", ".kube/config", ".bash_history",
		} {
			path := h.write("home/"+name, canary)
			script += "cat " + path + "; cat ~/" + name + "\n"
		}
		r := h.inside(script + "cat " + h.home + "/*/* ; true")
		h.expect(r, 0, "echo main")
		h.unseen(r)
	})
}

func TestDeskStartedByAnyoneCannotReadShadow(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("cat /etc/shadow"), 1)
		h.expect(h.inside("cat /proc/1/root/etc/shadow"), 1)
		h.expect(h.inside("test $(id -u) != 0 && cat /etc/passwd"), 0, "root")
	})
}

func TestKernelSettingsCannotBeWritten(t *testing.T) {
	asEachUser(t, func(h *host) {
		before, err := os.ReadFile("/proc/sys/kernel/core_pattern")
		if err != nil {
			h.Fatal(err)
		}
		h.expect(h.inside("echo '|/tmp/x' > /proc/sys/kernel/core_pattern"), 1)
		h.expect(h.inside("echo 1 > /proc/sys/vm/drop_caches"), 1)
		h.expect(h.inside("echo 1 > /proc/sysrq-trigger"), 1)
		h.expect(h.inside("cat /proc/sys/kernel/hostname"), 0)
		if after, _ := os.ReadFile("/proc/sys/kernel/core_pattern"); string(after) != string(before) {
			h.Errorf("core_pattern is now %q", after)
		}
	})
}

func TestHiddenFileIsEmptyInside(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.write("repo/.env", "KEY="+canary+"\n")
		r := h.inside("cat .env /workspace/.env; echo end", "--hide", ".env")
		h.expect(r, 0, "end")
		h.unseen(r)
		h.expect(h.inside("cat .env", "--fresh"), 0, canary)
	})
}

// A copied tree lets directories be moved: one that holds what is hidden would
// be where the next run at the desk does not hide it.
func TestHiddenFileIsNotMovedAwayForTheNextRun(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.write("repo/a/b/.env", "KEY="+canary+"\n")
		hide := []string{"--staging", "copy", "--hide", "**/.env"}
		r := h.inside("echo own > a/b/own; for d in a a/b; do mv $d moved$((n++)); mkdir -p a/b; echo x > a/b/.env; done; cat moved*/own", hide...)
		h.expect(r, 0, "own", "busy")
		r = h.inside("find . -name .env | xargs cat; echo end", hide...)
		h.expect(r, 0, "end")
		h.unseen(r)
		h.expect(h.inside("mv a moved && cat moved/b/.env", "--staging", "copy", "--fresh"), 0, canary)
	})
}

func TestProcLeadsNowhere(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.write("home/secret", canary)
		r := h.inside("cat /proc/1/root" + h.home + "/secret; cat /proc/self/root" + h.home + "/secret; cat /proc/$PPID/cwd/../home/secret; cat /proc/*/environ | tr '\\0' '\\n' | grep XDG_STATE; head -1 /proc/self/status")
		h.expect(r, 0, "Name:")
		h.unseen(r)
		if strings.Contains(r.out, h.dir+"/state") {
			h.Errorf("the supervisor's environment was seen\n%s", r)
		}
	})
}

func TestNoHostDescriptorEnters(t *testing.T) {
	asEachUser(t, func(h *host) {
		secret, err := os.Open(h.write("home/secret", canary))
		if err != nil {
			h.Fatal(err)
		}
		defer secret.Close()
		cmd := h.command(h.Context(), carrelBin, "run", "--", "bash", "-c", "ls -l /proc/self/fd; cat <&3; cat /proc/self/fd/3; ls /proc/1/fd; true")
		cmd.ExtraFiles = []*os.File{secret}
		r := h.finish(cmd)
		h.expect(r, 0)
		h.unseen(r)
		if strings.Contains(r.out, h.dir) {
			h.Errorf("a descriptor names a host path\n%s", r)
		}
	})
}

func TestHostLogGivenAsStdoutCannotBeReopened(t *testing.T) {
	asEachUser(t, func(h *host) {
		path := h.write("log.txt", canary+"\n")
		log, err := os.OpenFile(path, os.O_APPEND|os.O_RDWR, 0)
		if err != nil {
			h.Fatal(err)
		}
		defer log.Close()
		cmd := h.command(h.Context(), carrelBin, "run", "--", "bash", "-c", "timeout 1 cat /proc/self/fd/1 >&2; : > /proc/self/fd/1; truncate -s 0 /proc/self/fd/1; echo written; true")
		cmd.Stdout = log
		r := h.finish(cmd)
		h.expect(r, 0)
		h.unseen(r)
		if got := h.read("log.txt"); got != canary+"\nwritten\n" {
			h.Errorf("the host's log is now %q", got)
		}
	})
}

func TestDirectoryAsStdinIsRefused(t *testing.T) {
	h := asUser(t)
	dir, err := os.Open(h.home)
	if err != nil {
		h.Fatal(err)
	}
	defer dir.Close()
	cmd := h.command(h.Context(), carrelBin, "run", "--", "bash", "-c", "ls -la /proc/self/fd/0/")
	cmd.Stdin = dir
	r := h.finish(cmd)
	if strings.Contains(r.out, ".gitconfig") || r.code == 0 {
		h.Errorf("the home was listed through standard input\n%s", r)
	}
}

func TestLinkInRepositoryIsNotFollowed(t *testing.T) {
	asEachUser(t, func(h *host) {
		secret := h.write("home/.ssh/id_ed25519", canary)
		if err := os.Symlink(secret, filepath.Join(h.repo, "key")); err != nil {
			h.Fatal(err)
		}
		r := h.inside("cat key; cp -P key key2; echo new > plain; true")
		h.expect(r, 0)
		h.unseen(r)
		c := h.review()
		if f, ok := find(c.Files, "key2"); !ok || f.Kind != "link" || f.severity() < 3 {
			h.Errorf("a link out of the tree is %+v", f)
		}
		h.unseen(h.carrel("review", "--no-pager"))
		if _, ok := find(c.Files, "plain"); !ok {
			h.Errorf("the plain file is missing: %+v", c)
		}
	})
}

func TestHardLinkToOutsideFileStaysUnchanged(t *testing.T) {
	asEachUser(t, func(h *host) {
		outside := h.write("home/config", "mine\n")
		if err := os.Link(outside, filepath.Join(h.repo, "h")); err != nil {
			h.Fatal(err)
		}
		h.expect(h.inside("echo theirs > h; echo more >> main.sh"), 0)
		h.carrel("review", "--stat", "--no-pager")
		h.carrel("approve", "--reason", "test")
		h.carrel("apply")
		if got := h.read("home/config"); got != "mine\n" {
			h.Errorf("the file outside is now %q", got)
		}
	})
}

func TestDeviceFilesAreAbsent(t *testing.T) {
	asEachUser(t, func(h *host) {
		r := h.inside("ls /dev; for d in sda vda mem kmem kmsg port fuse kvm vhost-net net/tun loop0 mapper; do test -e /dev/$d && echo FOUND $d; done; head -c 4 /dev/urandom | wc -c; echo x > /dev/null && mknod b b 8 0; mknod /tmp/b b 8 0; test -b b -o -b /tmp/b && echo FOUND made; true")
		h.expect(r, 0, "urandom", "4\n")
		if strings.Contains(r.out, "FOUND") {
			h.Errorf("a device was found\n%s", r)
		}
	})
}

func TestNoCoreIsDumped(t *testing.T) {
	asEachUser(t, func(h *host) {
		r := h.inside("ulimit -c unlimited; ulimit -c; bash -c 'kill -SEGV $$'; ls -a; true")
		h.expect(r, 0)
		if strings.Contains(r.out, "unlimited") || strings.Contains(r.out, "core") {
			h.Errorf("cores can be had\n%s", r)
		}
	})
}

func TestOwnStateIsNotVisible(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.write("config/carrel/note", canary)
		h.expect(h.inside("true"), 0) // makes a log and its key
		r := h.inside("ls -R " + h.dir + "/state " + h.dir + "/config " + h.dir + "/runtime; cat " + h.dir + "/config/carrel/note; find / -xdev -name '*.tlog' -o -name 'checkpoint*' 2>/dev/null | head; ls " + h.repo)
		h.expect(r, 0, "main.sh")
		h.unseen(r)
		if strings.Contains(r.out, "checkpoint") {
			h.Errorf("the log is visible\n%s", r)
		}
	})
}

func TestHostSocketsAreAbsent(t *testing.T) {
	asEachUser(t, func(h *host) {
		l, err := net.Listen("unix", filepath.Join(h.repo, "host.sock"))
		if err != nil {
			h.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte(canary))
				_ = c.Close()
			}
		}()
		h.own(filepath.Join(h.repo, "host.sock"))
		r := h.inside("for s in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /run/dbus/system_bus_socket /run/user/*/bus; do test -e $s && echo FOUND $s; done; timeout 2 bash -c 'exec 3<>host.sock; cat <&3'; true")
		h.expect(r, 0)
		h.unseen(r)
		if strings.Contains(r.out, "FOUND") {
			h.Errorf("a socket of the host is visible\n%s", r)
		}
	})
}
