package native

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// process is PID 1 of a desk, seen from outside.
type process struct {
	pid    int
	pidfd  int
	reaped chan struct{} // closed when it and everything inside are gone
}

// spawn clones PID 1 straight into its namespaces. The thread that starts it
// also waits for it: the kernel kills PID 1 when that thread ends.
func spawn(image *os.File, id Identity, files []*os.File) (*process, error) {
	p := &process{reaped: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.fork(image, id, files)
		started <- err
		if err == nil {
			p.reap()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) fork(image *os.File, id Identity, files []*os.File) error {
	attr := &syscall.ProcAttr{Env: []string{}, Sys: attributes(id)}
	attr.Sys.PidFD = &p.pidfd
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	// Whatever the user's shell left open must not be inherited.
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("closing inherited descriptors: %w", err)
	}
	pid, err := syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(int(image.Fd())), []string{desk.Name}, attr)
	if err != nil {
		return whyNoNamespaces(err)
	}
	p.pid = pid
	return nil
}

func attributes(id Identity) *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{
		Cloneflags:                 namespaces,
		UidMappings:                id.uids(),
		GidMappings:                id.gids(),
		GidMappingsEnableSetgroups: id.Borrowed,
		Setsid:                     true,
		Pdeathsig:                  syscall.SIGKILL,
	}
	if id.Borrowed {
		sys.Credential = &syscall.Credential{Uid: uint32(id.Inside), Gid: uint32(id.Inside), Groups: []uint32{}}
	}
	// A user other than 0 loses its capabilities at exec unless they are
	// ambient; PID 1 needs them to build and gives them up afterwards.
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		sys.AmbientCaps = append(sys.AmbientCaps, c)
	}
	return sys
}

func (p *process) reap() {
	for {
		_, err := syscall.Wait4(p.pid, nil, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			close(p.reaped)
			return
		}
	}
}

// kill ends everything inside. It is safe at any time before release.
func (p *process) kill() error {
	if p.pidfd < 0 {
		return nil
	}
	err := unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// release waits until all is gone and closes what is left.
func (p *process) release() {
	<-p.reaped
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
	}
}
