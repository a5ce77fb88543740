package desk

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// wire returns a link and the bare other end of it.
func wire(t *testing.T) (*Link, int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLink(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); unix.Close(pair[1]) })
	return l, pair[1]
}

func TestMessagesKeepTheirFiles(t *testing.T) {
	l, other := wire(t)
	far, err := NewLink(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := far.Send(Message{Kind: Terminal, Code: -7, Text: "x\x00y", Files: []int{0, 1}}); err != nil {
		t.Fatal(err)
	}
	m, err := l.Receive()
	if err != nil || m.Kind != Terminal || m.Code != -7 || m.Text != "x\x00y" || len(m.Files) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	for _, fd := range m.Files {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d would be inherited: %v", fd, err)
		}
	}
	CloseAll(m.Files)
}

func TestHostileMessagesAreErrors(t *testing.T) {
	count := func() int {
		names, _ := os.ReadDir("/proc/self/fd")
		return len(names)
	}
	many := make([]int, maxFiles+20)
	for name, send := range map[string]func(fd int) error{
		"too short": func(fd int) error { return unix.Sendmsg(fd, []byte{1, 2}, nil, nil, 0) },
		"too long": func(fd int) error {
			return unix.Sendmsg(fd, []byte(strings.Repeat("x", maxText+100)), nil, nil, 0)
		},
		"too many files":  func(fd int) error { return unix.Sendmsg(fd, make([]byte, 5), unix.UnixRights(many...), nil, 0) },
		"files and short": func(fd int) error { return unix.Sendmsg(fd, []byte{1}, unix.UnixRights(0, 0), nil, 0) },
	} {
		l, other := wire(t)
		before := count()
		if err := send(other); err != nil {
			t.Fatal(name, err)
		}
		if m, err := l.Receive(); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
		if after := count(); after != before {
			t.Errorf("%s: %d descriptors before, %d after", name, before, after)
		}
	}
}

func TestTheOtherEndGoingIsTheEnd(t *testing.T) {
	l, other := wire(t)
	if err := unix.Shutdown(other, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want io.EOF", err)
	}
}
