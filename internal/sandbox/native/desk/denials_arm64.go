package desk

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// machineDenials are calls that only this machine has.
var machineDenials = []denial{
	{call: unix.SYS_KEXEC_FILE_LOAD, errno: unix.EPERM},
	{call: unix.SYS_LOOKUP_DCOOKIE, errno: unix.ENOSYS},
}
