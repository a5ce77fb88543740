//go:build linux

package attack

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// devices are those that a desk has not, and making some.
func devices() []Attack {
	var rows []Attack
	for _, name := range []string{"mem", "kmsg", "sda", "vda", "nvme0n1", "loop0", "fuse", "kvm", "vhost-net", "net/tun", "port", "uinput", "snapshot"} {
		rows = append(rows, Attack{Name: "device:" + name, Tries: "open /dev/" + name, Try: reads(at("/dev/" + name)), By: absent,
			Twin: randomDevice, TwinTries: "read /dev/urandom and write /dev/null"})
	}
	for _, node := range []struct {
		name string
		mode uint32
		dev  int
	}{{"block", unix.S_IFBLK, int(unix.Mkdev(8, 0))}, {"memory", unix.S_IFCHR, int(unix.Mkdev(1, 1))}} {
		for _, dir := range []string{"workspace", "/tmp", "/dev/shm"} {
			rows = append(rows, Attack{Name: "mknod:" + node.name + ":" + filepath.Base(dir), Tries: "make a " + node.name + " device in " + dir, By: forbidden,
				Try:  func(s *Stage) error { return makesNode(place(s, dir), node.mode|0o600, node.dev) },
				Twin: func(s *Stage) error { return makesNode(place(s, dir), unix.S_IFIFO|0o600, 0) }, TwinTries: "make a named pipe there"})
		}
	}
	return rows
}

func place(s *Stage, dir string) string {
	if dir == "workspace" {
		return s.Workspace
	}
	return dir
}

func makesNode(dir string, mode uint32, dev int) error {
	name := filepath.Join(dir, "attack.node")
	err := unix.Mknod(name, mode, dev)
	if err == nil {
		_ = os.Remove(name)
	}
	return err
}

func randomDevice(*Stage) error {
	f, err := os.Open("/dev/urandom")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 8)); err != nil {
		return err
	}
	return os.WriteFile("/dev/null", []byte("x"), 0)
}

// kernelFiles are what of /proc and /sys is the host's.
func kernelFiles() []Attack {
	const twinTries = "read /proc/cpuinfo, meminfo, stat and the like, and name an own thread"
	twin := func(*Stage) error {
		for _, name := range []string{"cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "cgroups", "filesystems"} { // by which programs size themselves
			if err := reads(at("/proc/" + name))(nil); err != nil {
				return err
			}
		}
		return os.WriteFile("/proc/self/comm", []byte("attack"), 0)
	}
	var rows []Attack
	for _, name := range []string{"sys/kernel/core_pattern", "sys/kernel/hostname", "sys/vm/drop_caches", "sys/net/ipv4/ip_forward", "sys/fs/protected_symlinks", "sysrq-trigger"} {
		rows = append(rows, Attack{Name: "kernel-write:" + filepath.Base(name), Tries: "open /proc/" + name + " for writing", Try: opens(at("/proc/" + name)), By: either(readOnly, absent),
			Twin: twin, TwinTries: twinTries})
	}
	for _, name := range []string{"kcore", "kallsyms", "keys", "kmsg", "timer_list", "cmdline", "diskstats", "interrupts", "pressure/cpu", "locks", "modules", "vmallocinfo", "slabinfo"} {
		rows = append(rows, Attack{Name: "kernel-read:" + filepath.Base(name), Tries: "read /proc/" + name, Try: reads(at("/proc/" + name)), By: either(forbidden, absent),
			Twin: twin, TwinTries: twinTries})
	}
	return append(rows,
		Attack{Name: "sysfs", Tries: "list /sys", Try: lists(at("/sys")), By: absent, Twin: lists(at("/proc/self")), TwinTries: "list /proc/self"},
		Attack{Name: "boot", Tries: "list /boot", Try: lists(at("/boot")), By: absent, Twin: lists(at("/usr")), TwinTries: "list /usr"},
		Attack{Name: "run", Tries: "open the container engine's socket", Try: dials("unix", func(*Stage) string { return "/var/run/docker.sock" }), By: either(absent, forbidden),
			Twin: unixTwin, TwinTries: "connect to an own socket"})
}
