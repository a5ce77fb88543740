package desk

import (
	"errors"
	"os"
	"os/signal"
	"path"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// run builds the desk, starts the program and stays with it to the end. PID 1
// is started before the supervisor knows the plan, and what every desk has is
// built while it is made.
func run(link *Link) (int, error) {
	orders := receive(link)
	r, err := prepare(link, orders)
	if err != nil {
		return 0, err
	}
	plan, streams, err := r.told(orders)
	if err != nil {
		return 0, err
	}
	if err := r.build(plan, orders); err != nil {
		return 0, err
	}
	return work(link, orders, plan, r.writable, streams)
}

// prepare makes PID 1 what it must be, hands the desk's sockets out and
// begins the root with what is the same for every desk.
func prepare(link *Link, orders <-chan Message) (*root, error) {
	m, ok := <-orders
	if !ok {
		return nil, errGone
	}
	if m.Kind != Settle {
		return nil, errors.New("unexpected order before the users are mapped")
	}
	// Only now: the mapping of users is there, and who may write it is decided
	// by who may dump this process.
	if err := become(int(m.Code)); err != nil {
		return nil, err
	}
	if err := settle(); err != nil {
		return nil, err
	}
	if err := raiseLoopback(); err != nil {
		return nil, failed("raising the loopback", err)
	}
	if err := connect(link); err != nil {
		return nil, failed("opening the desk's sockets", err)
	}
	return begin()
}

// told waits for the plan, and lays what comes before it.
func (r *root) told(orders <-chan Message) (p *Plan, streams []int, err error) {
	for {
		m, ok := <-orders
		if !ok {
			return nil, nil, errGone
		}
		if m.Kind != Lay && m.Kind != Build || len(m.Files) == 0 {
			return nil, nil, errors.New("unexpected order before the plan")
		}
		if p, err = readPlan(m.Files[0]); err != nil {
			return nil, nil, err
		}
		if m.Kind == Build {
			return planned(p, m.Files[1:])
		}
		if err := r.lay(p, orders); err != nil {
			return nil, nil, err
		}
	}
}

// planned returns the plan and the agent's streams, unless it gets a pty.
func planned(p *Plan, streams []int) (*Plan, []int, error) {
	if !p.Pty && len(streams) != 3 {
		return nil, nil, errors.New("the plan came without the agent's streams")
	}
	return p, streams, nil
}

// become makes PID 1 the desk's user where that is not who started it: 0 is
// nobody to become.
func become(id int) error {
	if id == 0 {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil {
		return failed("giving up groups", err)
	}
	if err := syscall.Setresgid(id, id, id); err != nil {
		return failed("taking the desk's group", err)
	}
	return failed("becoming the desk's user", syscall.Setresuid(id, id, id))
}

// settle makes PID 1 what it must be before anything else: out of reach of
// the agent, and gone when the supervisor is.
func settle() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return failed("hiding PID 1", err)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return failed("tying PID 1 to the supervisor", err)
	}
	// Piped core handlers run on the host whatever the limit, unless it is 1.
	core := unix.Rlimit{Cur: 1, Max: 1}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &core); err != nil {
		return failed("switching core dumps off", err)
	}
	// Caught and not ignored: what is ignored stays ignored in the program.
	// Where Landlock knows no scopes the agent can send any of them, among
	// them those at which a Go program gives up.
	signal.Notify(make(chan os.Signal, 1), unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV,
		unix.SIGSTKFLT, unix.SIGSYS, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE,
		unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	return nil
}

// connect hands out the sockets through which the supervisor may give the
// desk a network.
func connect(link *Link) error {
	fds, err := openSockets()
	if err != nil {
		return err
	}
	defer CloseAll(fds)
	return link.Send(Message{Kind: Networked, Files: fds})
}

// receive reads the supervisor's orders until it is gone, which closes the
// channel.
func receive(link *Link) <-chan Message {
	orders := make(chan Message)
	go func() {
		defer close(orders)
		for {
			m, err := link.Receive()
			if err != nil {
				return
			}
			if m.Kind == Listen {
				answer(link, m.Text)
				continue
			}
			orders <- m
		}
	}()
	return orders
}

// answer opens one more listening socket for the supervisor. After the
// capabilities are gone it can only fail.
func answer(link *Link, text string) {
	fd, err := listenFor(text)
	if err != nil {
		_ = link.Send(Message{Kind: Listening, Text: err.Error()})
		return
	}
	defer unix.Close(fd)
	_ = link.Send(Message{Kind: Listening, Files: []int{fd}})
}

var errGone = errors.New("the supervisor is gone")

// await collects the mounts that the supervisor opens, if it does.
func await(orders <-chan Message, p *Plan) ([]int, error) {
	want := 0
	for i := range p.Mounts {
		if k := p.Mounts[i].Kind; k == Bind || k == Overlay {
			want++
		}
	}
	var handed []int
	for p.Handed && len(handed) < want {
		m, ok := <-orders
		if !ok {
			return nil, errGone
		}
		if m.Kind != Mounts || len(m.Files) == 0 {
			return nil, errors.New("unexpected order before the mounts")
		}
		handed = append(handed, m.Files...)
	}
	return handed, nil
}

// begin makes the desk's root, its /proc and its devices.
func begin() (*root, error) {
	r, err := newRoot()
	if err != nil {
		return nil, err
	}
	if err := r.proc(); err != nil {
		return nil, failed("mounting /proc", err)
	}
	return r, failed("making /dev", r.dev())
}

// lay carries out the mounts of p.
func (r *root) lay(p *Plan, orders <-chan Message) error {
	handed, err := await(orders, p)
	if err != nil {
		return err
	}
	trees, err := openTrees(p, handed)
	if err != nil {
		return err
	}
	for i := range p.Mounts {
		if err := r.mount(&p.Mounts[i], trees[i]); err != nil {
			return failed("mounting "+p.Mounts[i].Target, err)
		}
	}
	return nil
}

// build completes the desk's root as planned and enters it.
func (r *root) build(p *Plan, orders <-chan Message) error {
	r.tmpSize = p.TmpSize
	if err := unix.Sethostname([]byte(p.Host)); err != nil {
		return failed("naming the desk", err)
	}
	if err := r.tmpfs("/dev/shm", 0o1777, 0, 0); err != nil {
		return failed("mounting /dev/shm", err)
	}
	if !mentions(p, "/tmp") {
		r.writable = append(r.writable, "/tmp")
		if err := r.tmpfs("/tmp", 0o1777, 0, 0); err != nil {
			return failed("mounting /tmp", err)
		}
	}
	if err := r.lay(p, orders); err != nil {
		return err
	}
	if err := r.closeDev(); err != nil {
		return failed("closing /dev", err)
	}
	return r.pivot()
}

func mentions(p *Plan, target string) bool {
	for i := range p.Mounts {
		if path.Clean(p.Mounts[i].Target) == target {
			return true
		}
	}
	return false
}

// work starts the program when the supervisor says so, and stays until the
// program or the supervisor is gone.
func work(link *Link, orders <-chan Message, p *Plan, writable []string, pipes []int) (int, error) {
	if err := unix.Chdir(p.Dir); err != nil {
		return 0, failed("entering the working directory "+p.Dir, err)
	}
	streams, tty, err := openStreams(link, pipes)
	if err != nil {
		return 0, err
	}
	if err := limitProcesses(p.Pids); err != nil {
		return 0, failed("limiting processes", err)
	}
	w := raiseWalls(link, p, writable, streams, tty)
	r := <-w.ready
	if r.err != nil {
		return 0, r.err
	}
	if err := link.Send(Message{Kind: Ready, Code: int32(r.landlock)}); err != nil {
		return 0, err
	}
	if m, ok := <-orders; !ok || m.Kind != Go {
		return 0, errGone
	}
	close(w.start)
	s := <-w.done
	if s.err != nil {
		return 0, s.err
	}
	settleLimits(s.pid)
	if tty < 0 {
		CloseAll(streams[:])
	}
	time.AfterFunc(shedAfter, shed)
	if err := link.Send(Message{Kind: Begun}); err != nil {
		return 0, err
	}
	return attend(link, orders, agent{pid: s.pid, tty: tty}), nil
}

// shedAfter keeps what interrupts every thread of PID 1 out of the way of
// programs that end at once. The agent cannot reach PID 1 in any case.
const shedAfter = 20 * time.Millisecond

// openStreams returns the agent's standard streams: pipes that the supervisor
// relays, or a terminal of the desk's own, whose master is handed out.
func openStreams(link *Link, pipes []int) (streams [3]int, tty int, err error) {
	if len(pipes) == 3 {
		return [3]int(pipes), -1, nil
	}
	master, slave, err := openPty()
	if err != nil {
		return streams, -1, err
	}
	defer unix.Close(master)
	if err := unix.IoctlSetInt(slave, unix.TIOCSCTTY, 0); err != nil {
		return streams, -1, failed("taking the terminal", err)
	}
	return [3]int{slave, slave, slave}, slave, link.Send(Message{Kind: Terminal, Files: []int{master}})
}
