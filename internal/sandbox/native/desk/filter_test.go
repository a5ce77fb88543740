package desk

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// evaluate runs the compiled table on one call, as the kernel would.
func evaluate(t *testing.T, arch uint32, call uint32, args ...uint64) uint32 {
	t.Helper()
	var raw []bpf.RawInstruction
	for _, f := range program(auditArch, newestCall, append(append([]denial{}, denials...), machineDenials...)) {
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

func TestEveryRowOfTheTableRefuses(t *testing.T) {
	table := append(append([]denial{}, denials...), machineDenials...)
	for _, d := range table {
		args := make([]uint64, 6)
		for _, e := range table { // what no other row of this call refuses
			if e.call == d.call && e.when.kind == notIn {
				args[e.when.arg] = uint64(e.when.not[0])
			}
		}
		switch d.when.kind {
		case anyBit:
			args[d.when.arg] = uint64(d.when.any)
		case equal:
			args[d.when.arg] = uint64(d.when.is)
		case notIn:
			args[d.when.arg] = unix.AF_ALG
		}
		if got, want := evaluate(t, auditArch, d.call, args...), refuse(d.errno); got != want {
			t.Errorf("call %d: %#x, want %#x", d.call, got, want)
		}
		if d.when.kind == always {
			continue
		}
		args[d.when.arg] = 0 // no flag, AF_UNSPEC, no command
		if d.when.kind == notIn {
			args[d.when.arg] = uint64(d.when.not[0])
		}
		if got := evaluate(t, auditArch, d.call, args...); got != unix.SECCOMP_RET_ALLOW {
			t.Errorf("call %d with other arguments: %#x", d.call, got)
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
	type row struct {
		call uint32
		arg  int
		is   uint32
	}
	seen := map[row]bool{}
	for _, d := range append(append([]denial{}, denials...), machineDenials...) {
		r := row{d.call, d.when.arg, d.when.is}
		if seen[r] {
			t.Errorf("call %d twice", d.call)
		}
		seen[r] = true
	}
}
