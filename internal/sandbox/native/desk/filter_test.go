package desk

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// evaluate runs the compiled table on one call, as the kernel would.
func evaluate(t *testing.T, arch uint32, call uint32, args ...uint64) uint32 {
	t.Helper()
	return interpret(t, program(auditArch, newestCall, table()), arch, call, args)
}

// evaluateRow does so with a table of one row.
func evaluateRow(t *testing.T, d denial, args []uint64) uint32 {
	t.Helper()
	return interpret(t, program(auditArch, newestCall, []denial{d}), auditArch, d.call, args)
}

func interpret(t *testing.T, p []unix.SockFilter, arch, call uint32, args []uint64) uint32 {
	t.Helper()
	var raw []bpf.RawInstruction
	for _, f := range p {
		raw = append(raw, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K})
	}
	code, whole := bpf.Disassemble(raw)
	if !whole {
		t.Fatal("the program has unknown instructions")
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	// The test machine reads words in network order, the kernel in its own.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offCall:], call)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
	}
	verdict, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(verdict)
}

func table() []denial { return append(append([]denial{}, denials...), machineDenials...) }

// holding returns arguments for which every condition holds, and for each
// condition arguments for which it alone does not.
func holding(conditions []condition) (all []uint64, butOne [][]uint64) {
	all = make([]uint64, 6)
	for _, c := range conditions {
		all[c.arg] = uint64(c.is[0])
		if c.kind == notIn {
			all[c.arg] = unix.AF_ALG
		}
	}
	for _, c := range conditions {
		args := append([]uint64{}, all...)
		args[c.arg] = 0 // no flag, AF_UNSPEC, no command
		if c.kind == notIn {
			args[c.arg] = uint64(c.is[0])
		}
		butOne = append(butOne, args)
	}
	return all, butOne
}

func TestEveryRowOfTheTableRefuses(t *testing.T) {
	for _, d := range table() {
		all, butOne := holding(d.when)
		if got, want := evaluateRow(t, d, all), refuse(d.errno); got != want {
			t.Errorf("call %d: %#x, want %#x", d.call, got, want)
		}
		if got := evaluate(t, auditArch, d.call, all...); got == unix.SECCOMP_RET_ALLOW {
			t.Errorf("call %d is allowed by the whole table", d.call)
		}
		for _, args := range butOne {
			if got := evaluateRow(t, d, args); got != unix.SECCOMP_RET_ALLOW {
				t.Errorf("call %d with other arguments: %#x", d.call, got)
			}
		}
	}
}

// Of netlink only the routes are left, whatever number an internet protocol
// shares with a netlink family; and of those protocols, all that are used.
func TestSockets(t *testing.T) {
	refused := refuse(unix.EPROTONOSUPPORT)
	const allowed = unix.SECCOMP_RET_ALLOW
	for _, c := range []struct {
		family, protocol uint64
		want             uint32
	}{
		{unix.AF_NETLINK, unix.NETLINK_ROUTE, allowed}, {unix.AF_NETLINK, unix.NETLINK_XFRM, refused},
		{unix.AF_NETLINK, 1, refused}, {unix.AF_NETLINK, unix.IPPROTO_UDP, refused},
		{unix.AF_NETLINK, unix.NETLINK_GENERIC, refused}, {unix.AF_NETLINK, unix.NETLINK_KOBJECT_UEVENT, refused},
		{unix.AF_INET, unix.IPPROTO_TCP, allowed}, {unix.AF_INET6, unix.IPPROTO_UDP, allowed}, {unix.AF_INET, unix.IPPROTO_SCTP, refused},
		{unix.AF_UNIX, 0, allowed}, {unix.AF_ALG, 0, refuse(unix.EAFNOSUPPORT)},
	} {
		if got := evaluate(t, auditArch, unix.SYS_SOCKET, c.family, unix.SOCK_RAW, c.protocol); got != c.want {
			t.Errorf("socket(%d, raw, %d): %#x, want %#x", c.family, c.protocol, got, c.want)
		}
	}
}

func TestOrdinaryCallsAreAllowed(t *testing.T) {
	for _, call := range []uint32{unix.SYS_READ, unix.SYS_OPENAT, unix.SYS_EXECVE, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PERSONALITY, unix.SYS_FUTEX, newestCall} {
		if got := evaluate(t, auditArch, call); got != unix.SECCOMP_RET_ALLOW {
			t.Errorf("call %d: %#x", call, got)
		}
	}
}

func TestForeignAndFutureCallsAreRefused(t *testing.T) {
	if got := evaluate(t, unix.AUDIT_ARCH_I386, unix.SYS_READ); got != unix.SECCOMP_RET_KILL_PROCESS {
		t.Errorf("a call of another architecture: %#x", got)
	}
	const x32 = 1 << 30
	for _, call := range []uint32{newestCall + 1, x32 | unix.SYS_READ, 1<<32 - 1} {
		if got := evaluate(t, auditArch, call); got != refuse(unix.ENOSYS) {
			t.Errorf("call %#x: %#x", call, got)
		}
	}
}

func TestTableHasNoRowTwice(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range table() {
		row := fmt.Sprint(d.call, d.when)
		if seen[row] {
			t.Errorf("call %d twice", d.call)
		}
		seen[row] = true
	}
}
