package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// netlinkTimeout bounds a conversation with the kernel, which answers at
// once: a socket that was not what it should be must not hang the start.
const netlinkTimeout = 5 * time.Second

// netlinkSocket speaks netlink on a socket that somebody else opened in
// another network namespace.
type netlinkSocket struct {
	f   *os.File
	seq uint32
}

// adoptNetlink takes its own descriptor of f, ready for deadlines; f is the
// caller's to close.
func adoptNetlink(f *os.File) (*netlinkSocket, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	fd := -1
	ctlErr := raw.Control(func(old uintptr) {
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3); err == nil {
			err = unix.SetNonblock(fd, true)
		}
	})
	if err := errors.Join(ctlErr, err); err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return &netlinkSocket{f: os.NewFile(uintptr(fd), "netlink")}, nil
}

// exchange sends messages in one write and waits for the acknowledgement of
// each that asks for one. The first error the kernel reports is returned.
func (s *netlinkSocket) exchange(messages []netlink.Message) error {
	return s.ask(messages, func(syscall.NetlinkMessage) {})
}

// ask is exchange, with whatever else comes before the acknowledgements.
func (s *netlinkSocket) ask(messages []netlink.Message, answer func(syscall.NetlinkMessage)) error {
	var out []byte
	waiting := make(map[uint32]bool)
	for _, m := range messages {
		s.seq++
		m.Header.Sequence, m.Header.PID = s.seq, 0
		m.Header.Flags &^= netlink.Echo
		m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data))
		b, err := m.MarshalBinary()
		if err != nil {
			return fmt.Errorf("encoding netlink message: %w", err)
		}
		out = append(out, b...)
		if m.Header.Flags&netlink.Acknowledge != 0 {
			waiting[s.seq] = true
		}
	}
	if err := s.f.SetDeadline(time.Now().Add(netlinkTimeout)); err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	defer s.f.SetDeadline(time.Time{})
	if _, err := s.f.Write(out); err != nil {
		return fmt.Errorf("sending netlink messages: %w", err)
	}
	return s.collect(waiting, answer)
}

// collect reads until every acknowledgement in waiting has come.
func (s *netlinkSocket) collect(waiting map[uint32]bool, answer func(syscall.NetlinkMessage)) error {
	buf := make([]byte, 64<<10)
	for len(waiting) > 0 {
		n, err := s.f.Read(buf)
		if err != nil {
			return fmt.Errorf("reading netlink answers: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return fmt.Errorf("reading netlink answers: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
				answer(m)
				continue
			}
			if errno := int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
				return syscall.Errno(-errno)
			}
			delete(waiting, m.Header.Seq)
		}
	}
	return nil
}

func (s *netlinkSocket) close() error { return s.f.Close() }
