package desk

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A denial is one row of the table in denials.go: the call, what the agent
// gets instead, and, if only some arguments are refused, which.
type denial struct {
	call  uint32
	errno unix.Errno
	when  []condition // all of them; none: always
}

// condition looks at one argument.
type condition struct {
	arg  int // 0 to 5
	kind test
	is   []uint32 // the mask of anyBit, the value of equal, the values of notIn
}

type test byte

const (
	anyBit test = iota // any of these low bits is set
	equal              // the argument is this
	notIn              // the argument is none of these
)

func bits(arg int, mask uint32) []condition { return []condition{{arg, anyBit, []uint32{mask}}} }

func value(arg int, v uint32) []condition { return []condition{{arg, equal, []uint32{v}}} }

func other(arg int, v ...uint32) []condition { return []condition{{arg, notIn, v}} }

func both(a, b []condition) []condition { return append(append([]condition{}, a...), b...) }

// Offsets in struct seccomp_data. The arguments looked at are flags, families
// and commands, of which the kernel takes the low 32 bits; both machines
// below are little endian.
const (
	offCall = 0
	offArch = 4
	offArgs = 16
)

// refuse answers a call with an error.
func refuse(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// program compiles the table: another architecture's calls end the process,
// calls newer than the table do not exist, rows are tried in order, and the
// rest is allowed.
func program(arch, newest uint32, table []denial) []unix.SockFilter {
	p := []unix.SockFilter{
		load(offArch),
		jump(unix.BPF_JEQ, arch, 1, 0),
		ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(offCall),
		jump(unix.BPF_JGT, newest, 0, 1), // the x32 calls among them: their numbers start at 1<<30
		ret(refuse(unix.ENOSYS)),
	}
	for _, d := range table {
		body := d.code()
		p = append(p, jump(unix.BPF_JEQ, d.call, 0, uint8(len(body))))
		p = append(p, body...)
	}
	return append(p, ret(unix.SECCOMP_RET_ALLOW))
}

// code returns the instructions that refuse if every condition holds, and else
// leave the call's number loaded.
func (d *denial) code() []unix.SockFilter {
	out := []unix.SockFilter{ret(refuse(d.errno))}
	if len(d.when) == 0 {
		return out
	}
	for i := len(d.when) - 1; i >= 0; i-- {
		out = append(d.when[i].code(uint8(len(out))), out...)
	}
	return append(out, load(offCall))
}

// code returns the instructions that go on if c holds, and else skip as many
// as follow.
func (c *condition) code(skip uint8) []unix.SockFilter {
	out := []unix.SockFilter{load(offArgs + 8*uint32(c.arg))}
	switch c.kind {
	case anyBit:
		return append(out, jump(unix.BPF_JSET, c.is[0], 0, skip))
	case equal:
		return append(out, jump(unix.BPF_JEQ, c.is[0], 0, skip))
	}
	for i, v := range c.is {
		out = append(out, jump(unix.BPF_JEQ, v, uint8(len(c.is)-1-i)+skip, 0))
	}
	return out
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(how uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | how | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

func ret(verdict uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict}
}

// restrictCalls puts the calling thread, and what it starts, behind the
// table. no_new_privs must be set.
func restrictCalls() error {
	p := program(auditArch, newestCall, append(append([]denial{}, denials...), machineDenials...))
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
