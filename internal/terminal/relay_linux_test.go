package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty opens a pseudo-terminal pair.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := os.NewFile(uintptr(fd), "ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m, s
}

// bench is a user's terminal and a desk, with a relay between them. The test
// plays both the person and the agent.
type bench struct {
	t          *testing.T
	screen     *os.File // what the person sees and types on
	shell      *os.File // the same terminal, as the shell has it
	agent      *os.File // the desk's end
	master     *os.File
	shown      *recorder
	end        context.CancelFunc
	result     chan error
	stopped    chan struct{}
	stops      chan struct{} // the relay stopped its group
	fg         chan struct{} // let it go on
	continued  chan struct{}
	modeBefore unix.Termios
}

// recorder collects what a terminal was sent, answering what it is asked.
type recorder struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// answers is what the terminal of these tests says when asked.
var answers = map[string]string{
	"\x1b[5n": "\x1b[0n", "\x1b[6n": "\x1b[7;7R", "\x1b[c": "\x1b[?62c", "\x1b[?u": "\x1b[?0u",
}

func (r *recorder) run(screen *os.File, delay time.Duration) {
	p := make([]byte, 4096)
	for {
		n, err := screen.Read(p)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.buf.Write(p[:n])
		r.mu.Unlock()
		time.Sleep(delay)
		for rest := p[:n]; len(rest) > 0; rest = rest[1:] {
			for ask, answer := range answers {
				if bytes.HasPrefix(rest, []byte(ask)) {
					_, _ = screen.WriteString(answer)
				}
			}
		}
	}
}

func newBench(t *testing.T, delay time.Duration) *bench {
	t.Helper()
	b := &bench{t: t, shown: &recorder{}, result: make(chan error, 1),
		stopped: make(chan struct{}), stops: make(chan struct{}), fg: make(chan struct{}), continued: make(chan struct{}, 1)}
	b.screen, b.shell = pty(t)
	b.master, b.agent = pty(t)
	mode, err := unix.IoctlGetTermios(int(b.shell.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	b.modeBefore = *mode
	if err := unix.IoctlSetWinsize(int(b.shell.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 101}); err != nil {
		t.Fatal(err)
	}
	// The agent draws: its own line discipline must not get in the way.
	raw := *mode
	raw.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	raw.Oflag &^= unix.OPOST
	raw.Iflag &^= unix.ICRNL | unix.IXON
	if err := unix.IoctlSetTermios(int(b.agent.Fd()), unix.TCSETS, &raw); err != nil {
		t.Fatal(err)
	}
	go b.shown.run(b.screen, delay)
	ctx, cancel := context.WithCancel(t.Context())
	b.end = cancel
	go func() {
		b.result <- Relay(ctx, Options{Terminal: b.shell, Master: b.master, Stopped: b.stopped,
			Continue: func() error { b.continued <- struct{}{}; return nil },
			Stop:     func() error { b.stops <- struct{}{}; <-b.fg; return nil }})
	}()
	b.until("the terminal is raw", func() bool { return b.mode().Lflag&unix.ICANON == 0 })
	return b
}

func (b *bench) mode() unix.Termios {
	m, err := unix.IoctlGetTermios(int(b.shell.Fd()), unix.TCGETS)
	if err != nil {
		b.t.Fatal(err)
	}
	return *m
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("waited in vain until %s; shown so far: %q", what, b.shown.text())
		}
	}
}

func (b *bench) finish() error {
	b.t.Helper()
	b.end()
	select {
	case err := <-b.result:
		return err
	case <-time.After(10 * time.Second):
		b.t.Fatal("the relay does not end")
		return nil
	}
}

// typed returns what the shell would read now.
func (b *bench) typed() string {
	b.t.Helper()
	raw := b.mode()
	raw.Lflag &^= unix.ICANON
	_ = unix.IoctlSetTermios(int(b.shell.Fd()), unix.TCSETS, &raw)
	fds := []unix.PollFd{{Fd: int32(b.shell.Fd()), Events: unix.POLLIN}}
	var got []byte
	for {
		if n, _ := unix.Poll(fds, 150); n == 0 {
			return string(got)
		}
		var p [256]byte
		n, _ := unix.Read(int(b.shell.Fd()), p[:])
		got = append(got, p[:n]...)
	}
}

func TestKeysAndScreenPassAndTheTerminalIsGivenBack(t *testing.T) {
	b := newBench(t, 0)
	_, _ = b.screen.WriteString("ls\x03\x1a\r")
	got := make([]byte, 16)
	n, _ := b.agent.Read(got)
	for n < 5 {
		m, _ := b.agent.Read(got[n:])
		n += m
	}
	if string(got[:n]) != "ls\x03\x1a\r" {
		t.Errorf("the agent read %q", got[:n])
	}
	_, _ = b.agent.WriteString("\x1b[?1049h\x1b[?25l\x1b[32mgreen\x1b]52;c;ZXZpbA==\alast words")
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
	if got := b.mode(); got != b.modeBefore {
		t.Errorf("modes %+v, before %+v", got, b.modeBefore)
	}
	want := "\x1b[?1049h\x1b[?25l\x1b[32mgreenlast words\x1b[?25h\x1b[?1049l\x1b[0m"
	b.until("the reset is shown", func() bool { return b.shown.text() == want })
}

func TestTheDeskGetsTheSize(t *testing.T) {
	b := newBench(t, 0)
	size := func() string {
		w, _ := unix.IoctlGetWinsize(int(b.agent.Fd()), unix.TIOCGWINSZ)
		return fmt.Sprint(w.Row, w.Col)
	}
	b.until("the first size arrives", func() bool { return size() == "33 101" })
	_ = unix.IoctlSetWinsize(int(b.shell.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 44, Col: 55})
	_ = unix.Kill(os.Getpid(), unix.SIGWINCH) // it is not our controlling terminal
	b.until("the new size arrives", func() bool { return size() == "44 55" })
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
}

// Questions asked with the last breath are answered when the agent is gone.
func TestAnswersAreNeverTypedIntoTheShell(t *testing.T) {
	b := newBench(t, 100*time.Millisecond) // a slow line
	_, _ = b.agent.WriteString(strings.Repeat("\x1b[6n\x1b[c\x1b[?u", 20) + "\x1b[21t\x05\x1bP$qm\x1b\\")
	b.until("the questions are on the screen", func() bool { return strings.Count(b.shown.text(), "\x1b[6n") > 0 })
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
	if got := b.typed(); got != "" {
		t.Errorf("the shell reads %q", got)
	}
	if !strings.HasSuffix(b.shown.text(), "\x1b[5n") {
		t.Errorf("no barrier at the end of %q", b.shown.text())
	}
}

func TestAnswersReachTheAgentWhileItRuns(t *testing.T) {
	b := newBench(t, 0)
	_, _ = b.agent.WriteString("\x1b[6n")
	got := make([]byte, 16)
	n, err := b.agent.Read(got)
	if err != nil || string(got[:n]) != "\x1b[7;7R" {
		t.Errorf("the agent read %q, %v", got[:n], err)
	}
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
}

func TestStopGivesTheTerminalBackAndContinueTakesItAgain(t *testing.T) {
	b := newBench(t, 0)
	_, _ = b.agent.WriteString("\x1b[?2004hbefore")
	b.stopped <- struct{}{}
	<-b.stops
	if b.mode() != b.modeBefore {
		t.Error("the shell does not get its terminal back")
	}
	b.until("the paste mode is off", func() bool { return strings.HasSuffix(b.shown.text(), "before\x1b[?2004l\x1b[0m") })
	_ = unix.IoctlSetWinsize(int(b.shell.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 12, Col: 34})
	b.fg <- struct{}{}
	<-b.continued
	if b.mode().Lflag&unix.ICANON != 0 {
		t.Error("the terminal was not taken again before the desk went on")
	}
	if w, _ := unix.IoctlGetWinsize(int(b.agent.Fd()), unix.TIOCGWINSZ); w.Row != 12 {
		t.Errorf("the size is that of before: %+v", w)
	}
	if err := b.finish(); err != nil || b.mode() != b.modeBefore {
		t.Errorf("end: %v", err)
	}
}

func TestTheTerminalGoingAwayEndsTheRelay(t *testing.T) {
	b := newBench(t, 0)
	b.screen.Close()
	select {
	case err := <-b.result:
		if !errors.Is(err, ErrHangup) {
			t.Errorf("error %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the relay goes on")
	}
}

func TestMuchOutputArrivesWhole(t *testing.T) {
	b := newBench(t, 0)
	const lines = 20000
	go func() {
		for i := range lines {
			fmt.Fprintf(b.agent, "%08d\r\n", i)
		}
		b.end()
	}()
	if err := <-b.result; err != nil {
		t.Fatal(err)
	}
	b.until("all is shown", func() bool { return len(b.shown.text()) == lines*10 })
}

func TestADeskThatHoldsNoTerminalIsWaitedFor(t *testing.T) {
	b := newBench(t, 0)
	name := b.agent.Name()
	b.agent.Close()
	time.Sleep(50 * time.Millisecond)
	again, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	_, _ = again.WriteString("back")
	b.until("it is heard again", func() bool { return strings.Contains(b.shown.text(), "back") })
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
}

func TestAScreenWithoutKeyboardIsFilteredToo(t *testing.T) {
	master, slave := pty(t)
	shown := &recorder{}
	go shown.run(master, 0)
	var dropped []string
	out, done, err := Screen(slave, func(kind string) { dropped = append(dropped, kind) })
	if err != nil {
		t.Fatal(err)
	}
	_, _ = out.WriteString("\x1b[?25l\x1b[31mred\x1b]52;c;eA==\a\x1b[6n")
	done()
	want := "\x1b[?25l\x1b[31mred\x1b[?25h\x1b[0m"
	for end := time.Now().Add(2 * time.Second); shown.text() != want; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q", shown.text())
		}
	}
	if len(dropped) != 2 {
		t.Errorf("dropped %v", dropped)
	}
	f, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if same, done, err := Screen(f, nil); same != f || err != nil {
		t.Error("a file is not left alone")
	} else {
		done()
	}
}
