package desk

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// machineDenials are calls that only this machine has.
var machineDenials = []denial{
	{call: unix.SYS_KEXEC_FILE_LOAD, errno: unix.EPERM},
	{call: unix.SYS_IOPL, errno: unix.EPERM},
	{call: unix.SYS_IOPERM, errno: unix.EPERM},
	{call: unix.SYS_MODIFY_LDT, errno: unix.EPERM},
	{call: unix.SYS_USELIB, errno: unix.EPERM},
	{call: unix.SYS_USTAT, errno: unix.ENOSYS},
	{call: unix.SYS_SYSFS, errno: unix.ENOSYS},
	{call: unix.SYS__SYSCTL, errno: unix.ENOSYS},
	{call: unix.SYS_CREATE_MODULE, errno: unix.ENOSYS},
	{call: unix.SYS_LOOKUP_DCOOKIE, errno: unix.ENOSYS},
}
