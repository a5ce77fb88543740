package desk

import "golang.org/x/sys/unix"

// newNamespaces are the clone and unshare flags that make namespaces. A user
// namespace would give the agent every capability over kernel code that
// expects a trusted caller.
const newNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// newestCall is the newest call that was looked at when the table was last
// reviewed; newer ones do not exist for the agent.
const newestCall = unix.SYS_FILE_SETATTR

// denials is what the agent may not ask the kernel, beyond what it lacks
// privileges for anyway. Everything else is allowed; debugging its own
// processes (ptrace, process_vm_*, personality) is among it. A call that
// programs try and then do without answers ENOSYS, the rest EPERM.
var denials = []denial{
	// New namespaces, and entering others. The flags of clone3 lie in memory,
	// which a filter cannot read; libraries fall back to clone.
	{call: unix.SYS_CLONE3, errno: unix.ENOSYS},
	{call: unix.SYS_CLONE, errno: unix.EPERM, when: bits(0, newNamespaces)},
	{call: unix.SYS_UNSHARE, errno: unix.EPERM, when: bits(0, newNamespaces|unix.CLONE_NEWTIME)},
	{call: unix.SYS_SETNS, errno: unix.EPERM},

	// Mounts and roots.
	{call: unix.SYS_MOUNT, errno: unix.EPERM},
	{call: unix.SYS_UMOUNT2, errno: unix.EPERM},
	{call: unix.SYS_PIVOT_ROOT, errno: unix.EPERM},
	{call: unix.SYS_CHROOT, errno: unix.EPERM},
	{call: unix.SYS_OPEN_TREE, errno: unix.EPERM},
	{call: unix.SYS_OPEN_TREE_ATTR, errno: unix.EPERM},
	{call: unix.SYS_MOVE_MOUNT, errno: unix.EPERM},
	{call: unix.SYS_FSOPEN, errno: unix.EPERM},
	{call: unix.SYS_FSCONFIG, errno: unix.EPERM},
	{call: unix.SYS_FSMOUNT, errno: unix.EPERM},
	{call: unix.SYS_FSPICK, errno: unix.EPERM},
	{call: unix.SYS_MOUNT_SETATTR, errno: unix.EPERM},
	{call: unix.SYS_SWAPON, errno: unix.EPERM},
	{call: unix.SYS_SWAPOFF, errno: unix.EPERM},
	{call: unix.SYS_QUOTACTL, errno: unix.EPERM},
	{call: unix.SYS_QUOTACTL_FD, errno: unix.EPERM},
	{call: unix.SYS_OPEN_BY_HANDLE_AT, errno: unix.EPERM},

	// Kernel code with a long record of holes, which no agent needs.
	{call: unix.SYS_IO_URING_SETUP, errno: unix.ENOSYS},
	{call: unix.SYS_IO_URING_ENTER, errno: unix.ENOSYS},
	{call: unix.SYS_IO_URING_REGISTER, errno: unix.ENOSYS},
	{call: unix.SYS_BPF, errno: unix.EPERM},
	{call: unix.SYS_PERF_EVENT_OPEN, errno: unix.EPERM},
	{call: unix.SYS_USERFAULTFD, errno: unix.EPERM},
	{call: unix.SYS_FANOTIFY_INIT, errno: unix.EPERM},
	{call: unix.SYS_FANOTIFY_MARK, errno: unix.EPERM},

	// A terminal's line discipline: whoever has one of his own may ask for any,
	// which the kernel then loads, among them those of modems.
	{call: unix.SYS_IOCTL, errno: unix.EPERM, when: value(1, unix.TIOCSETD)},

	// Keyrings know no namespaces of files or processes.
	{call: unix.SYS_ADD_KEY, errno: unix.EPERM},
	{call: unix.SYS_REQUEST_KEY, errno: unix.EPERM},
	{call: unix.SYS_KEYCTL, errno: unix.EPERM},

	// The machine itself.
	{call: unix.SYS_KEXEC_LOAD, errno: unix.EPERM},
	{call: unix.SYS_INIT_MODULE, errno: unix.EPERM},
	{call: unix.SYS_FINIT_MODULE, errno: unix.EPERM},
	{call: unix.SYS_DELETE_MODULE, errno: unix.EPERM},
	{call: unix.SYS_REBOOT, errno: unix.EPERM},
	{call: unix.SYS_SYSLOG, errno: unix.EPERM},
	{call: unix.SYS_ACCT, errno: unix.EPERM},
	{call: unix.SYS_SETTIMEOFDAY, errno: unix.EPERM},
	{call: unix.SYS_CLOCK_SETTIME, errno: unix.EPERM},
	{call: unix.SYS_SETHOSTNAME, errno: unix.EPERM},
	{call: unix.SYS_SETDOMAINNAME, errno: unix.EPERM},
	{call: unix.SYS_VHANGUP, errno: unix.EPERM},
	{call: unix.SYS_LSM_SET_SELF_ATTR, errno: unix.EPERM},

	// Sockets: local, the captured internet, and routes, which resolvers read.
	{call: unix.SYS_SOCKET, errno: unix.EAFNOSUPPORT, when: other(0, unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK)},
	{call: unix.SYS_SOCKETPAIR, errno: unix.EAFNOSUPPORT, when: other(0, unix.AF_UNIX)},
	{call: unix.SYS_SOCKET, errno: unix.EPROTONOSUPPORT, when: both(value(0, unix.AF_NETLINK), other(2, unix.NETLINK_ROUTE))},
	{call: unix.SYS_SOCKET, errno: unix.EPROTONOSUPPORT, when: other(2, 0, unix.IPPROTO_ICMP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6, unix.IPPROTO_MPTCP)},

	// Typing into a terminal on somebody's behalf.
	{call: unix.SYS_IOCTL, errno: unix.EPERM, when: value(1, unix.TIOCSTI)},
	{call: unix.SYS_IOCTL, errno: unix.EPERM, when: value(1, unix.TIOCLINUX)},
	{call: unix.SYS_IOCTL, errno: unix.EPERM, when: value(1, unix.TIOCCONS)},
}
