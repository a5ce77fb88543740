package native

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

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
	// One processor, and no interruptions to share it: PID 1 does one thing after
	// the other, and its scheduler would cost as much as a part of the walls.
	attr := &syscall.ProcAttr{Env: []string{"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}, Sys: attributes()}
	attr.Sys.PidFD = &p.pidfd
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	// Whatever the user's shell left open must not be inherited.
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("closing inherited descriptors: %w", err)
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, desk.Slack, 0, 0, 0)
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // back to this thread's own
	pid, err := execute(image, []string{desk.Name}, attr)
	if err != nil {
		return whyNoNamespaces(err)
	}
	p.pid = pid
	if err := mapIDs(pid, id.mapping()); err != nil {
		_ = p.kill()
		return whyNoNamespaces(err)
	}
	return nil
}

// execute starts a child that runs the image. An image that was just installed
// may still be open for writing in a child of another goroutine that has not
// executed its own program yet: that takes microseconds.
func execute(image *os.File, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	for range 100 {
		pid, err = syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(int(image.Fd())), argv, attr)
		if !errors.Is(err, syscall.ETXTBSY) {
			return pid, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return pid, err
}

// sharing starts a child in this process's memory until it has executed its
// program. Without it the kernel copies the page tables of the supervisor, and
// every page that is written afterwards, which takes longer than all the walls.
const sharing = unix.CLONE_VM | unix.CLONE_VFORK

// mapping says which user and group of a user namespace are whom outside.
type mapping struct {
	uid, gid         int // inside
	hostUID, hostGID int
	setgroups        bool // let the namespace change its supplementary groups
}

// mapIDs writes the mapping of the user namespace that process pid began. It
// is written after the program was executed; until then the namespace has
// nobody in it.
func mapIDs(pid int, m mapping) error {
	dir := "/proc/" + strconv.Itoa(pid)
	groups := "deny"
	if m.setgroups {
		groups = "allow"
	}
	for _, file := range []struct{ name, text string }{
		{"setgroups", groups},
		{"uid_map", fmt.Sprintf("%d %d 1", m.uid, m.hostUID)},
		{"gid_map", fmt.Sprintf("%d %d 1", m.gid, m.hostGID)},
	} {
		if err := writeOnce(dir+"/"+file.name, file.text); err != nil {
			return fmt.Errorf("mapping users: %w", err)
		}
	}
	return nil
}

// writeOnce writes with one system call, as these files ask.
func writeOnce(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

func attributes() *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{
		Cloneflags: namespaces | sharing,
		Setsid:     true,
		Pdeathsig:  syscall.SIGKILL,
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
