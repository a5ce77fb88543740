//go:build unix

package verify

import "syscall"

// openFlags make opening follow no link and wait for no writer of a pipe, even
// of one that came between the look and the opening.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
