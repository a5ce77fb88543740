//go:build linux

package kernel

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is one system call that a program made.
type call struct {
	id   uint64
	pid  uint32
	_    uint32
	nr   int32
	arch uint32
	ip   uint64
	args [6]uint64
}

// answer is what it gets: an error, a value, or the real kernel's answer.
type answer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// lack is what a kernel without a feature does with one call.
type lack struct {
	call   uint32
	refuse func(c *call) (value int64, errno unix.Errno, refused bool)
}

// Lacks are the kernels and containers that can be had.
var Lacks = map[string]lack{
	"landlock":   {unix.SYS_LANDLOCK_CREATE_RULESET, always(unix.EOPNOTSUPP)},
	"landlock-1": landlockOnly(1),
	"landlock-3": landlockOnly(3),
	"netfilter": {unix.SYS_SOCKET, when(unix.EPROTONOSUPPORT, func(c *call) bool {
		return c.args[0] == unix.AF_NETLINK && c.args[2] == unix.NETLINK_NETFILTER
	})},
	"overlay": {unix.SYS_FSOPEN, when(unix.ENODEV, func(c *call) bool {
		return bytes.HasPrefix(c.memory(c.args[0], 8), []byte("overlay\x00"))
	})},
	"idmap": {unix.SYS_MOUNT_SETATTR, when(unix.EINVAL, func(c *call) bool {
		attr := c.memory(c.args[3], 8)
		return len(attr) == 8 && binary.LittleEndian.Uint64(attr)&unix.MOUNT_ATTR_IDMAP != 0
	})},
	"userns":    {unix.SYS_CLONE, when(unix.EPERM, func(c *call) bool { return c.args[0]&unix.CLONE_NEWUSER != 0 })},
	"seccomp":   {unix.SYS_SECCOMP, always(unix.EINVAL)},
	"new-mount": {unix.SYS_FSOPEN, always(unix.ENOSYS)},
}

func always(e unix.Errno) func(*call) (int64, unix.Errno, bool) {
	return when(e, func(*call) bool { return true })
}

func when(e unix.Errno, holds func(*call) bool) func(*call) (int64, unix.Errno, bool) {
	return func(c *call) (int64, unix.Errno, bool) { return 0, e, holds(c) }
}

// landlockOnly is a kernel whose Landlock is of an early version: it says so,
// and refuses rights that it does not know.
func landlockOnly(version int64) lack {
	known := []uint64{1: 1<<13 - 1, 2: 1<<14 - 1, 3: 1<<15 - 1}[version]
	return lack{unix.SYS_LANDLOCK_CREATE_RULESET, func(c *call) (int64, unix.Errno, bool) {
		if c.args[2] == unix.LANDLOCK_CREATE_RULESET_VERSION {
			return version, 0, true
		}
		attr := c.memory(c.args[0], int(min(c.args[1], 64)))
		if len(attr) < 8 || binary.LittleEndian.Uint64(attr)&^known != 0 {
			return 0, unix.EINVAL, true
		}
		return 0, unix.E2BIG, len(bytes.Trim(attr[8:], "\x00")) > 0
	}}
}

// memory reads what a program points to.
func (c *call) memory(at uint64, n int) []byte {
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	local := []unix.Iovec{{Base: &b[0], Len: uint64(n)}}
	got, err := unix.ProcessVMReadv(int(c.pid), local, []unix.RemoteIovec{{Base: uintptr(at), Len: n}}, 0)
	if err != nil {
		return nil
	}
	return b[:got]
}

// The kernel's two requests on a listener (linux/seccomp.h).
const (
	notifReceive = 0xc0502100
	notifSend    = 0xc0182101
)

// serve answers calls until the listener fails.
func serve(listener int, lacks []lack) {
	for {
		var c call
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), notifReceive, uintptr(unsafe.Pointer(&c))); errno != 0 {
			if errno == unix.ENOENT || errno == unix.EINTR {
				continue
			}
			return
		}
		a := answer{id: c.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		for _, l := range lacks {
			if l.call != uint32(c.nr) {
				continue
			}
			if value, errno, refused := l.refuse(&c); refused {
				a = answer{id: c.id, value: value, errno: -int32(errno)}
				break
			}
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), notifSend, uintptr(unsafe.Pointer(&a)))
	}
}
