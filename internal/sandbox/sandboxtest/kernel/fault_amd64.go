package kernel

import "golang.org/x/sys/unix"

// Only this machine still has the calls of old, which C libraries make.
func init() {
	here := func(name int) func(c *call) string {
		return func(c *call) string { return c.resolve(unix.AT_FDCWD, c.args[name]) }
	}
	for _, nr := range []uint32{unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_UNLINK, unix.SYS_CHMOD, unix.SYS_CHOWN} {
		changing[nr] = here(0)
	}
	changing[unix.SYS_RENAME], changing[unix.SYS_LINK] = here(1), here(1)
}
