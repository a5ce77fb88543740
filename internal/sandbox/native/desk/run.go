package desk

import (
	"errors"
	"path"
	"strconv"
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
	if err := r.tmpfs("/dev/shm", 0o1777, 0, unix.MOUNT_ATTR_NOEXEC); err != nil {
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
