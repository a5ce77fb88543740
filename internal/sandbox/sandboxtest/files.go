package sandboxtest

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

func overlay(b *bed) {
	b.write("ws/old", "before", 0o644)
	b.write("ws/gone", "x", 0o644)
	if os.Geteuid() == 0 {
		b.write("ws/own", "only the owner reads this", 0o600)
		b.sh("cat own")
	}
	b.sh("echo after > old; rm gone; mkdir -p new/dir; echo n > new/dir/file; chmod 755 old; mv new/dir/file new/moved; ln new/moved new/hard")
	if got, err := os.ReadFile(filepath.Join(b.dir, "ws", "old")); err != nil || string(got) != "before" {
		b.t.Errorf("the real tree has %q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "ws", "gone")); err != nil {
		b.t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(b.dir, "layer", "upper", "new", "moved")); err != nil || string(got) != "n\n" {
		b.t.Errorf("the layer has %q, %v", got, err)
	}
	if out := b.sh("cat old new/hard"); out != "after\nn\n" {
		b.t.Errorf("the next run sees %q", out)
	}
}

func oddNames(b *bed) {
	for _, name := range []string{"a:b", "c,d=e", `back\slash`, "sp ace", "upperdir=", "\xff\xfe"} {
		c := &bed{b.t, b.tier, filepath.Join(b.dir, name)}
		c.write("ws/f", "seen", 0o644)
		if out := c.sh("cat f; echo x > g; grep -c " + "'" + name + "/layer' /proc/self/mountinfo || true"); out != "seen0\n" {
			b.t.Errorf("%q: %q", name, out)
		}
		if _, err := os.Stat(filepath.Join(c.dir, "layer", "upper", "g")); err != nil {
			b.t.Errorf("%q: %v", name, err)
		}
	}
}

// sameTwice: the workspace lies at two paths and is one.
func sameTwice(b *bed) {
	s := b.spec("/bin/sh", "-c", `echo one > /workspace/f; cat /real/path/f; echo two >> /real/path/f; mv /real/path/f /real/path/g; cat /workspace/g`)
	s.Mounts = append(s.Mounts, sandbox.Mount{Kind: sandbox.MountSame, Target: "/real/path", Source: "/workspace"})
	if out, errs, _ := b.run(s); out != "one\none\ntwo\n" {
		b.t.Errorf("got %q %s", out, errs)
	}
}

// coverLoop: what an earlier run left in the place of a file to cover must not
// make the cover fall away. Its twin, a file that is not there, starts.
func coverLoop(b *bed) {
	cover := func(name string) sandbox.Spec {
		s := b.spec("/bin/true")
		s.Mounts = append(s.Mounts, sandbox.Mount{Kind: sandbox.MountFile, Target: "/workspace/" + name, Optional: true})
		return s
	}
	if _, errs, exit := b.run(cover("absent")); exit.Code != 0 {
		b.t.Errorf("an absent file: %+v %s", exit, errs)
	}
	b.sh("ln -s loop loop")
	b.mustNotStart(cover("loop"), 125)
}

func coverFiles(b *bed) {
	b.write("ws/.env", "SECRET=1", 0o644)
	s := b.spec("/bin/sh", "-c", "cat .env; echo x > .env; rm -f .env; cat /etc/thing /made/here; ls -A; readlink /link; stat -c %a /made/here")
	s.Mounts = append(s.Mounts,
		sandbox.Mount{Kind: sandbox.MountFile, Target: "/workspace/.env"},
		sandbox.Mount{Kind: sandbox.MountFile, Target: "/workspace/absent", Optional: true},
		sandbox.Mount{Kind: sandbox.MountTmpfs, Target: "/etc"},
		sandbox.Mount{Kind: sandbox.MountFile, Target: "/etc/thing", Content: []byte("thing\n")},
		sandbox.Mount{Kind: sandbox.MountFile, Target: "/made/here", Content: []byte("here\n"), Mode: 0o400},
		sandbox.Mount{Kind: sandbox.MountSymlink, Target: "/link", Source: "/made/here"},
		sandbox.Mount{Kind: sandbox.MountDir, Target: "/empty"},
	)
	out, _, _ := b.run(s)
	if out != "thing\nhere\n.env\n/made/here\n400\n" {
		b.t.Errorf("got %q", out)
	}
	if names := list(b.t, filepath.Join(b.dir, "layer", "upper")); len(names) > 0 {
		b.t.Errorf("the layer has %v", names)
	}
}

func noHostMountPoints(b *bed) {
	for _, target := range []string{"/usr/no/such/place", "/workspace/no/such", "/home/agent/x"} {
		s := b.spec("/bin/true")
		s.Mounts = append(s.Mounts, sandbox.Mount{Kind: sandbox.MountBind, Target: target, Source: "/usr"})
		b.mustNotStart(s, 125)
	}
	if names := append(list(b.t, filepath.Join(b.dir, "home")), list(b.t, filepath.Join(b.dir, "layer", "upper"))...); len(names) > 0 {
		b.t.Errorf("left on the host: %v", names)
	}
}

func missingSource(b *bed) {
	s := b.spec("/bin/true")
	s.Mounts = append(s.Mounts, sandbox.Mount{Kind: sandbox.MountBind, Target: "/x", Source: filepath.Join(b.dir, "missing")})
	if err := b.mustNotStart(s, 125); !strings.Contains(err.Error(), "missing") {
		b.t.Errorf("%v does not name the source", err)
	}
	s.Mounts[len(s.Mounts)-1].Optional = true
	if _, _, exit := b.run(s); exit.Code != 0 {
		b.t.Errorf("exit %+v", exit)
	}
}

// devices is attack A10.
func devices(b *bed) {
	out := b.sh(`ls /dev; for d in sda vda mem kmsg fuse kvm vhost-net port loop0 net/tun; do test -e /dev/$d && echo found $d; done
		echo x > /dev/null && head -c 4 /dev/urandom | wc -c; (cat /dev/zero > /dev/full) 2>&1 | grep -c "No space"; ls /sys 2>&1 | grep -c "No such"`)
	if want := "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n4\n1\n1\n"; out != want {
		b.t.Errorf("got %q, want %q", out, want)
	}
}

// coreDumps is attack A11: a piped handler of the host ignores a limit of 0.
func coreDumps(b *bed) {
	out := b.sh(`ulimit -c; ulimit -c unlimited 2>/dev/null && echo raised; ulimit -H -c 0 2>/dev/null; grep -i core /proc/self/limits | tr -s " "; (kill -SEGV $(sh -c 'echo $PPID')) ; ls`)
	if !strings.Contains(out, "Max core file size 1 1 bytes") || strings.Contains(out, "raised") || strings.HasSuffix(out, "core\n") {
		b.t.Errorf("got %q", out)
	}
}

// setuid is attack B31: set-uid bits inside, and on files of the host.
func setuid(b *bed) {
	out := b.sh(`cp /probe s && chmod 6755 s && ./s probe ids; test -u s && echo kept`)
	f := strings.Fields(out)
	if len(f) != 5 || f[0] != f[1] || f[2] != f[3] || f[0] == "0" {
		b.t.Errorf("ids %q", out)
	}
	out = b.sh(`find /usr/bin -perm -4000 | head -1 | xargs -r stat -c %U; grep -c . /proc/self/mountinfo; grep -vc nosuid /proc/self/mountinfo || true; grep -E "Seccomp:|NoNewPrivs" /proc/self/status | tr -d "\t"`)
	if !strings.Contains(out, "\n0\nNoNewPrivs:1\nSeccomp:2\n") || strings.HasPrefix(out, "root") {
		b.t.Errorf("got %q", out)
	}
}

// renames is attack B38.
func renames(b *bed) {
	b.write("ro/a", "a", 0o644)
	s := b.spec("/bin/sh", "-c", `mkdir d1 d2; echo x > d1/f; mv d1/f d2/f && echo inside; ln d2/f d1/l 2>/dev/null && echo linked inside
		mv /ro/a /workspace/a 2>/dev/null; ls /ro; mv d2/f /ro/f 2>/dev/null && echo moved; ln /ro/a /workspace/l 2>/dev/null && echo linked; ln d2/f /ro/l 2>/dev/null && echo linked; exit 0`)
	s.Mounts = append(s.Mounts, sandbox.Mount{Kind: sandbox.MountBind, Target: "/ro", Source: filepath.Join(b.dir, "ro"), Adopt: true})
	want := "inside\nlinked inside\na\n"
	if strings.Contains(b.landlock().How, "version 1:") {
		want = "inside\na\n" // it knows no rule that allows a link to another directory
	}
	if out, errs, _ := b.run(s); out != want {
		b.t.Errorf("got %q %s", out, errs)
	}
}

// reopenStdout: a host file given as stdout must not be reached through
// /proc/self/fd/1, where it could be read or cut off.
func reopenStdout(b *bed) {
	b.write("log", "earlier secret\n", 0o644)
	log, err := os.OpenFile(filepath.Join(b.dir, "log"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	s := b.spec("/bin/sh", "-c", `echo new; timeout 0.3 cat /proc/self/fd/1 > /workspace/stolen; cat /workspace/stolen >&2; : > /proc/self/fd/1; truncate -s 0 /proc/self/fd/1; echo to stderr > /dev/stderr; readlink /proc/self/fd/1 >&2`)
	s.Stdout, s.Stderr = log, b.file("err")
	d := b.mustStart(s)
	if _, err := d.Wait(); err != nil {
		b.t.Fatal(err)
	}
	got, _ := os.ReadFile(log.Name())
	errs := b.text(s.Stderr)
	if string(got) != "earlier secret\nnew\n" || strings.Contains(errs, "secret") || !strings.Contains(errs, "to stderr") || !strings.Contains(errs, "pipe:") {
		b.t.Errorf("log %q, stderr %q", got, errs)
	}
}

func closedRoot(b *bed) {
	out := b.sh(`for d in / /dev /usr /proc /home; do touch $d/x 2>/dev/null && echo wrote $d; done; for d in /tmp /dev/shm /home/agent /workspace; do touch $d/x || echo cannot write $d; done; rm /home/agent/x`)
	if out != "" {
		b.t.Errorf("got %q", out)
	}
}
