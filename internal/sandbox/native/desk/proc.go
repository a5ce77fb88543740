package desk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// What of /proc is the kernel's and not the desk's: read-only, or covered.
var (
	procReadOnly = []string{"bus", "fs", "irq", "sys", "sysrq-trigger"}
	procMasked   = []string{
		"acpi", "asound", "kallsyms", "kcore", "key-users", "keys", "kmsg", "kpagecgroup", "kpagecount",
		"kpageflags", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats", "vmallocinfo",
		// What identifies the host, or lets its other work be watched. Programs
		// size themselves by cpuinfo, meminfo, stat, loadavg and cgroups.
		"bootconfig", "buddyinfo", "cmdline", "config.gz", "consoles", "diskstats", "driver", "dynamic_debug", "interrupts",
		"iomem", "ioports", "locks", "mdstat", "modules", "mtrr", "pagetypeinfo", "partitions", "pressure",
		"schedstat", "slabinfo", "softirqs", "swaps", "zoneinfo",
	}
)

// proc mounts a /proc of the desk's own processes.
func (r *root) proc() error {
	fd, err := makeFS("proc", ownFlags|unix.MOUNT_ATTR_NOEXEC)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("the host's /proc is covered in places, as in a container, so that no other can be mounted: %w", err)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := r.place(fd, "/proc"); err != nil {
		return err
	}
	for _, name := range procReadOnly {
		if err := r.cover("/proc/"+name, ""); err != nil {
			return err
		}
	}
	for _, name := range procMasked {
		if err := r.cover("/proc/"+name, "/dev/null"); err != nil {
			return err
		}
	}
	return nil
}

// cover makes target read-only, or covers it with an empty file of the host
// (an empty directory where it is one). What does not exist needs no cover.
func (r *root) cover(target, with string) error {
	at, err := r.lookup(target)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return err
	}
	var tree int
	switch {
	case with == "":
		tree, err = cloneTree(at, "")
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		tree, err = makeFS("tmpfs", ownFlags|unix.MOUNT_ATTR_RDONLY, [2]string{"size", "4096"})
	default:
		tree, err = cloneTree(unix.AT_FDCWD, with)
	}
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	ro := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &ro); err != nil {
		return err
	}
	return attach(tree, at, "")
}
