package native

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/needs"
)

// Ctrl-Z reaches every process of a job. The kernel keeps who starts a program
// waiting until that program runs: one that is stopped before would hold the
// supervisor where no shell can stop or continue it.
func TestCtrlZStopsNothingThatIsWaitedFor(t *testing.T) {
	needs.Root(t)
	const again = "CARREL_TEST_CTRL_Z"
	if os.Getenv(again) != "" {
		holdSpaces(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), again+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	time.Sleep(100 * time.Millisecond) // until it catches the signal
	for late := time.After(30 * time.Second); ; {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			return
		case <-late:
			t.Error("a process that was waited for was stopped")
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			<-ended
			return
		case <-time.After(50 * time.Microsecond):
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGTSTP)
		}
	}
}

// holdSpaces makes user namespaces for a while.
func holdSpaces(t *testing.T) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGTSTP)
	id, err := Who()
	if err != nil {
		t.Fatal(err)
	}
	var i image
	file, err := i.open("")
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		fd, err := holdSpace(file, id, owner{})()
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
}
