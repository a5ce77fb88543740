package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// executions answers for every program that is about to be executed in a
// desk: the kernel lets each wait (seccomp_unotify(2)) until it is told to go
// on. What the program's memory says is read while it waits; another thread of
// the agent may change it before the kernel reads it again, so that this is a
// gate for those who do not evade it, and no wall.
type executions struct {
	from  *os.File
	ask   func(context.Context, sandbox.Execution) error
	known digests
	tells chan tell
	done  chan struct{} // closed when all is answered
}

// notification and answer are the kernel's struct seccomp_notif and struct
// seccomp_notif_resp (linux/seccomp.h).
type (
	notification struct {
		id    uint64
		pid   uint32 // as this process numbers it
		flags uint32
		call  int32
		arch  uint32
		ip    uint64
		args  [6]uint64
	}
	answer struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}
)

// syncWakeUp tells the kernel that asking and answering take turns.
const syncWakeUp = 1 // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6

// attendExecutions answers until the last process of the desk is gone.
func (d *Desk) attendExecutions(fd int) {
	_ = unix.SetNonblock(fd, true)
	x := &executions{from: os.NewFile(uintptr(fd), "executions"), ask: d.spec.Executed, tells: make(chan tell, 16), done: make(chan struct{})}
	d.executions = x
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, syncWakeUp) // faster where it is known
	go x.deliver()
	go x.serve(d.life)
}

func (x *executions) serve(ctx context.Context) {
	var answering sync.WaitGroup
	defer func() {
		answering.Wait()
		close(x.tells)
		x.from.Close()
		close(x.done)
	}()
	raw, err := x.from.SyscallConn()
	if err != nil {
		return
	}
	for {
		n, err := next(raw)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
			continue // whoever asked is gone
		}
		if err != nil {
			return
		}
		answering.Go(func() { x.answer(ctx, n) })
	}
}

// next waits for a program. An error other than ENOENT means that there will
// be none.
func next(raw interface {
	Read(func(uintptr) bool) error
}) (n notification, err error) {
	rerr := raw.Read(func(fd uintptr) bool {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err = unix.Poll(ready, 0); err != nil {
			return true
		}
		switch events := ready[0].Revents; {
		case events&unix.POLLIN != 0:
			err = control(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n))
			return true
		case events != 0:
			err = os.ErrClosed
			return true
		}
		return false
	})
	return n, errors.Join(err, rerr)
}

func control(fd, request uintptr, data unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(data)); errno != 0 {
		return errno
	}
	return nil
}

// answer lets one program go on, or refuses it.
func (x *executions) answer(ctx context.Context, n notification) {
	a := answer{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	if errno := x.decide(ctx, &n); errno != 0 {
		a.flags, a.errno = 0, -int32(errno)
	}
	_ = x.send(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a)) // fails only if whoever asked is gone
}

func (x *executions) send(request uintptr, data unsafe.Pointer) error {
	raw, err := x.from.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = control(fd, request, data) })
	return errors.Join(err, cerr)
}

// decide returns what the kernel should answer: 0 lets the program go on.
func (x *executions) decide(ctx context.Context, n *notification) unix.Errno {
	e, err := x.read(n)
	var errno unix.Errno
	if errors.As(err, &errno) && (errno == unix.ENOENT || errno == unix.ENOTDIR || errno == unix.EACCES || errno == unix.ELOOP) {
		return errno // as the kernel would have said, and as nobody can make untrue meanwhile
	}
	if x.send(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&n.id)) != nil {
		return unix.EINTR // gone, and its number may be somebody else's by now
	}
	if err != nil {
		e.Unread = err
	}
	if err := x.ask(ctx, e); err != nil {
		x.tell(int(n.pid), fmt.Sprintf("carrel: %s: %v\n", e.RawPath, err))
		return unix.EACCES
	}
	return 0
}
