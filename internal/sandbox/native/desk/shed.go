package desk

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shed drops PID 1's own capabilities on every thread, once the program runs,
// and forbids it new ones. A program built with cgo cannot; its PID 1 keeps
// them, over the desk's namespaces only.
func shed() {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}
