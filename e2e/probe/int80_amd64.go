package main

import "golang.org/x/sys/unix"

// int80 makes a system call the 32-bit way.
func int80(number uintptr) uintptr

// tryForeign calls getpid through the interfaces for 32-bit and for x32
// programs, whose numbers a filter for 64-bit programs does not know.
func tryForeign(args []string) error {
	if args[0] == "x32" {
		const x32 = 0x40000000
		if _, _, errno := unix.Syscall(unix.SYS_GETPID|x32, 0, 0, 0); errno != 0 {
			return errno
		}
		return nil
	}
	const getpid32 = 20
	if r := int32(int80(getpid32)); r < 0 {
		return unix.Errno(-r)
	}
	return nil
}
