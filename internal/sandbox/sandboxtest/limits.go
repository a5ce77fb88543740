package sandboxtest

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// memoryLimit is attack K184.
func memoryLimit(b *bed) {
	for _, how := range []string{"eat", "eat-shared", "eat-detached", "eat-briefly", "eat-headless", "eat-aside"} {
		s := b.spec(probePath, "probe", how)
		s.Limits = sandbox.Limits{Memory: 200 << 20}
		if out, errs, exit := b.run(s); exit.Cause != "memory" || exit.Code != 137 {
			b.t.Errorf("%s: exit %+v: %s%s", how, exit, out, errs)
		} else if exit.PeakMemory < 100<<20 {
			b.t.Errorf("%s: peak memory %d", how, exit.PeakMemory)
		}
	}
	s := b.spec("/bin/sh", "-c", "echo fine")
	s.Limits = sandbox.Limits{Memory: 200 << 20}
	if out, _, exit := b.run(s); exit.Cause != "" || out != "fine\n" {
		b.t.Errorf("exit %+v: %s", exit, out)
	}
}

func processLimit(b *bed) {
	s := b.spec(probePath, "probe", "fork")
	s.Limits = sandbox.Limits{Pids: 60}
	out, _, exit := b.run(s)
	if exit.Code != 0 || !strings.Contains(out, "EAGAIN") {
		b.t.Errorf("exit %+v: %s", exit, out)
	}
	s = b.spec(probePath, "probe", "fork")
	if out, _, _ := b.run(s); out != "started 200\n" {
		b.t.Errorf("without a limit: %s", out)
	}
	s = b.spec("/bin/bash", "-c", "ulimit -u 100000 2>/dev/null && echo raised; ulimit -u")
	s.Limits = sandbox.Limits{Pids: 60}
	if out, _, _ := b.run(s); out != "60\n" {
		b.t.Errorf("raising the limit inside: %q", out)
	}
}

// diskLimit is attack K185.
func diskLimit(b *bed) {
	s := b.spec("/bin/sh", "-c", "dd if=/dev/zero of=/workspace/big bs=1M count=64 2>/dev/null; sleep 20; echo done")
	s.DiskPaths = []string{filepath.Join(b.dir, "layer")}
	s.Limits = sandbox.Limits{Disk: 8 << 20}
	if out, _, exit := b.run(s); exit.Cause != "disk" || exit.Code != 137 {
		b.t.Errorf("exit %+v: %s", exit, out)
	}
	s = b.spec("/bin/sh", "-c", "rm big; echo x > small; sleep 1.5; echo done")
	s.DiskPaths = []string{filepath.Join(b.dir, "layer")}
	s.Limits = sandbox.Limits{Disk: 8 << 20}
	if out, _, exit := b.run(s); exit.Cause != "" || out != "done\n" {
		b.t.Errorf("exit %+v: %s", exit, out)
	}
	// What earlier runs left does not count: else a full desk could not even
	// be made empty. Nor is what was removed charged again.
	s = b.spec("/bin/sh", "-c", "dd if=/dev/zero of=/workspace/small bs=1M count=6 2>/dev/null; echo done")
	s.DiskPaths = []string{filepath.Join(b.dir, "layer")}
	s.Limits = sandbox.Limits{Disk: 8 << 20}
	for range 2 {
		if out, _, exit := b.run(s); exit.Cause != "" || out != "done\n" {
			b.t.Errorf("as much as it may: exit %+v: %s", exit, out)
		}
		s.Args[2] = strings.ReplaceAll(s.Args[2], "small", "other")
	}
	// Whoever is quick is not let off.
	s = b.spec("/bin/sh", "-c", "dd if=/dev/zero of=/workspace/quick bs=1M count=16 2>/dev/null")
	s.DiskPaths = []string{filepath.Join(b.dir, "layer")}
	s.Limits = sandbox.Limits{Disk: 8 << 20}
	if out, _, exit := b.run(s); exit.Cause != "disk" || exit.Code != 137 {
		b.t.Errorf("over the limit and at its end at once: exit %+v: %s", exit, out)
	}
	s.DiskPaths = nil
	b.mustNotStart(s, 125)
	// Nor is what has no name any more, while somebody still writes to it.
	s = b.spec("/bin/sh", "-c", "exec 3>gone && rm gone && dd if=/dev/zero bs=1M count=64 >&3 2>/dev/null; sleep 20; echo done")
	s.DiskPaths = []string{filepath.Join(b.dir, "layer")}
	s.Limits = sandbox.Limits{Disk: 8 << 20}
	if out, _, exit := b.run(s); exit.Cause != "disk" || exit.Code != 137 {
		b.t.Errorf("a file without a name: exit %+v: %s", exit, out)
	}
	// What the tree had is not what the run adds.
	if err := os.WriteFile(filepath.Join(b.dir, "ws", "large"), make([]byte, 16<<20), 0o644); err != nil {
		b.t.Fatal(err)
	}
	s = b.spec("/bin/sh", "-c", "exec 3<large && rm large && sleep 1.5; echo done")
	s.DiskPaths = []string{filepath.Join(b.dir, "layer")}
	s.Limits = sandbox.Limits{Disk: 8 << 20}
	if out, _, exit := b.run(s); exit.Cause != "" || out != "done\n" {
		b.t.Errorf("a file of the tree, removed and still read: exit %+v: %s", exit, out)
	}
	// What lies in memory instead counts too.
	s = b.spec("/bin/sh", "-c", "for d in /tmp /dev/shm; do dd if=/dev/zero of=$d/big bs=1M count=6 2>/dev/null; done; sleep 20; echo done")
	s.DiskPaths = []string{filepath.Join(b.dir, "layer")}
	s.Limits = sandbox.Limits{Disk: 8 << 20}
	if out, _, exit := b.run(s); exit.Cause != "disk" {
		b.t.Errorf("files in memory: exit %+v: %s", exit, out)
	}
	// A directory closed to whoever measures is no way around the limit.
	s = b.spec("/bin/sh", "-c", "mkdir d && exec 3>d/f && chmod 000 d && dd if=/dev/zero bs=1M count=64 >&3 2>/dev/null; sleep 20; echo done")
	s.DiskPaths = []string{filepath.Join(b.dir, "layer")}
	s.Limits = sandbox.Limits{Disk: 8 << 20}
	if out, _, exit := b.run(s); exit.Cause != "disk" {
		b.t.Errorf("a closed directory: exit %+v: %s", exit, out)
	}
	if err := os.Chmod(filepath.Join(b.dir, "layer", "upper", "d"), 0o700); err != nil { // so that it can be removed
		b.t.Error(err)
	}
}

func wallLimit(b *bed) {
	s := b.spec("/bin/sleep", "30")
	s.Limits = sandbox.Limits{Wall: 300 * time.Millisecond}
	if _, _, exit := b.run(s); exit.Cause != "wall" || exit.Code != 143 {
		b.t.Errorf("exit %+v", exit)
	}
	s = b.spec("/bin/sh", "-c", `trap "" TERM; sleep 30 & wait; sleep 30`)
	s.Limits = sandbox.Limits{Wall: 300 * time.Millisecond}
	s.Grace = 300 * time.Millisecond
	if _, _, exit := b.run(s); exit.Cause != "wall" || exit.Code != 137 {
		b.t.Errorf("exit %+v", exit)
	}
}

func tmpfsBounded(b *bed) {
	s := b.spec("/bin/sh", "-c", `dd if=/dev/zero of=/small/f bs=64k 2>&1 | grep -c "No space"; i=0; while true 2>/dev/null > /small/$i; do i=$((i+1)); test $i -gt 40000 && echo endless && break; done; echo x > /tmp/f && echo twin`)
	s.Mounts = append(s.Mounts, sandbox.Mount{Kind: sandbox.MountTmpfs, Target: "/small", Size: 1 << 20, Mode: 0o777})
	if out, _, _ := b.run(s); out != "1\ntwin\n" {
		b.t.Errorf("got %q", out)
	}
}
