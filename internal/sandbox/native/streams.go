package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// checkStreams refuses directories: a program with one as its standard input
// could walk out of the desk through it. They are relayed and never enter,
// but a directory there is a mistake in any case.
func checkStreams(s *sandbox.Spec) error {
	if s.Terminal != nil {
		return nil
	}
	for i, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f == nil {
			continue
		}
		st, err := f.Stat()
		if err != nil {
			return refusal("standard stream %d: %w", i, err)
		}
		if st.IsDir() {
			return refusal("standard stream %d is a directory", i)
		}
	}
	return nil
}

// streams are fresh pipes between the supervisor's streams and the agent's:
// no descriptor of the host enters, since /proc/self/fd would reopen what it
// leads to.
type streams struct {
	inside  []*os.File // the agent's ends, closed once it has them
	feed    *os.File   // the agent's standard input, until read
	from    *os.File   // what is relayed to it; nil: nothing
	stop    *os.File   // closing it ends the relay of stdin
	outputs sync.WaitGroup
	input   sync.WaitGroup
}

// pipe returns the two ends, of which only outside, the end that ours says,
// is non-blocking: programs do not expect that of theirs.
func pipe(oursReads bool) (inside, outside *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	theirs, ours := p[0], p[1]
	if oursReads {
		theirs, ours = ours, theirs
	}
	if err := unix.SetNonblock(ours, true); err != nil {
		unix.Close(theirs)
		unix.Close(ours)
		return nil, nil, err
	}
	return os.NewFile(uintptr(theirs), "pipe"), os.NewFile(uintptr(ours), "pipe"), nil
}

// openStreams makes the pipes and starts relaying what the agent writes. The
// agent's ends are given to the desk's user, so that /dev/stdout can be opened.
func openStreams(s *sandbox.Spec, id Identity) (_ *streams, err error) {
	st := &streams{from: s.Stdin}
	defer func() {
		if err != nil {
			st.abandon()
		}
	}()
	in, feed, err := pipe(false)
	if err != nil {
		return nil, err
	}
	st.inside, st.feed = append(st.inside, in), feed
	for _, to := range []*os.File{s.Stdout, s.Stderr} {
		end, from, err := pipe(true)
		if err != nil {
			return nil, err
		}
		st.inside = append(st.inside, end)
		st.outputs.Add(1)
		go func() {
			defer st.outputs.Done()
			drain(to, from)
		}()
	}
	for _, f := range st.inside {
		if err := f.Chown(id.Outside, id.Group); err != nil {
			return nil, fmt.Errorf("giving the streams to the desk: %w", err)
		}
	}
	return st, nil
}

// read starts relaying standard input. Until then it is somebody else's, such
// as a question's to the user.
func (st *streams) read() error {
	feed := st.feed
	st.feed = nil
	if st.from == nil {
		return feed.Close()
	}
	watched, stop, err := os.Pipe()
	if err != nil {
		feed.Close()
		return err
	}
	st.stop = stop
	st.input.Add(1)
	go func() {
		defer st.input.Done()
		defer watched.Close()
		defer feed.Close()
		fill(feed, st.from, watched)
	}()
	return nil
}

// drain copies what the agent writes. When nobody takes it any more the pipe
// is closed, which the agent sees as it would without Carrel.
func drain(to, from *os.File) {
	defer from.Close()
	if to == nil {
		_, _ = io.Copy(io.Discard, from)
		return
	}
	_, _ = io.Copy(to, from)
}

// fill copies stdin to the agent until it ends, the agent closes its end, or
// stop is closed: a read of a terminal cannot be interrupted, so it is only
// read when it has something.
func fill(to *os.File, from, stop *os.File) {
	buf := make([]byte, 32<<10)
	for {
		fds := []unix.PollFd{
			{Fd: int32(from.Fd()), Events: unix.POLLIN},
			{Fd: int32(stop.Fd())},
			{Fd: int32(rawFd(to))},
		}
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return
		}
		if fds[1].Revents != 0 || fds[2].Revents != 0 {
			return
		}
		n, err := unix.Read(int(from.Fd()), buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// rawFd returns the descriptor without making it blocking, as Fd would.
func rawFd(f *os.File) int {
	fd := -1
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(p uintptr) { fd = int(p) })
	}
	return fd
}

// entered closes the agent's ends on this side, once the agent has them.
func (st *streams) entered() {
	for _, f := range st.inside {
		f.Close()
	}
	st.inside = nil
}

// finish returns when everything the agent wrote was taken, or ctx ends.
func (st *streams) finish(ctx context.Context) {
	if st.stop != nil {
		st.stop.Close()
	}
	drained := make(chan struct{})
	go func() {
		st.outputs.Wait()
		st.input.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-ctx.Done():
	}
}

// abandon ends the relays of a desk that did not start.
func (st *streams) abandon() {
	st.entered()
	if st.feed != nil {
		st.feed.Close()
	}
	st.finish(context.Background())
}
