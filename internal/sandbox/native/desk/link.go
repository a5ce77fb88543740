package desk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Kind says what a message on the control socket is.
type Kind byte

// From PID 1 to the supervisor.
const (
	Networked Kind = iota + 1 // Files: TCP, DNS, DNSTCP, route and, if it can be had, netfilter
	Terminal                  // Files: the master of the desk's pty
	Listening                 // answer to Listen: one file, or Text says why not
	Watched                   // Files: where executions wait for an answer; none: Text says why they do not
	Ready                     // the walls are built; Code is the Landlock version in force
	Begun                     // the program runs
	Failed                    // Code is the exit code it deserves, Text the reason
	Stopped                   // the program was stopped by signal Code
	Ended                     // Code is the program's wait status
	Tallied                   // answer to Tally: Text is the bytes, in decimal
)

// From the supervisor to PID 1.
const (
	Settle   Kind = iota + 64 // users are mapped; Code: the user to become, or 0
	Lay                       // Files: a plan of which only the mounts count; those of Build come on top
	Build                     // Files: the plan, and the agent's standard streams unless it gets a pty
	Mounts                    // Files: the next mounts of the plan, opened outside
	Listen                    // Text: "network address" to listen on, or "dial family"
	Go                        // start the program
	Pass                      // pass signal Code on to the program's process group
	Continue                  // continue the program in the foreground
	Tally                     // say what the desk's shared memory of System V takes
)

// Bounds of a message. A longer one, or one with more files, is an error: the
// other side may be hostile.
const (
	maxText  = 4096
	maxFiles = 64
)

// Message is one datagram on the control socket.
type Message struct {
	Kind  Kind
	Code  int32
	Text  string
	Files []int // sent: stay the sender's; received: the receiver closes them
}

// Link is one end of the control socket: a close-on-exec SOCK_SEQPACKET
// socket, so that messages keep their bounds. Send may be used by several
// goroutines, Receive by one.
type Link struct {
	mu   sync.Mutex // guards Send
	file *os.File
}

// NewLink takes over descriptor fd.
func NewLink(fd int) (*Link, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &Link{file: os.NewFile(uintptr(fd), "control")}, nil
}

// Close closes the socket, which ends everything inside.
func (l *Link) Close() error { return l.file.Close() }

// Send sends m whole or not at all.
func (l *Link) Send(m Message) error {
	if len(m.Text) > maxText {
		m.Text = m.Text[:maxText]
	}
	if len(m.Files) > maxFiles {
		return fmt.Errorf("control message with %d files", len(m.Files))
	}
	b := binary.LittleEndian.AppendUint32([]byte{byte(m.Kind)}, uint32(m.Code))
	b = append(b, m.Text...)
	var oob []byte
	if len(m.Files) > 0 {
		oob = unix.UnixRights(m.Files...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Write(func(fd uintptr) bool {
		serr = unix.Sendmsg(int(fd), b, oob, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(serr, unix.EAGAIN)
	})
	return errors.Join(err, serr)
}

// Receive returns the next message, io.EOF when the other end is gone, or an
// error when what came is no message.
func (l *Link) Receive() (Message, error) {
	buf := make([]byte, 5+maxText)
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	raw, err := l.file.SyscallConn()
	if err != nil {
		return Message{}, err
	}
	var n, oobn, flags int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		n, oobn, flags, _, rerr = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(rerr, unix.ECONNRESET) { // said once, before what the other end said last
			n, oobn, flags, _, rerr = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
		}
		return !errors.Is(rerr, unix.EAGAIN)
	})
	if err := errors.Join(err, rerr); err != nil {
		return Message{}, err
	}
	files, err := received(oob[:oobn])
	switch {
	case err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("control message too long")
	case err == nil && n == 0:
		err = io.EOF
	case err == nil && n < 5:
		err = errors.New("control message too short")
	}
	if err != nil {
		CloseAll(files)
		return Message{}, err
	}
	return Message{Kind: Kind(buf[0]), Code: int32(binary.LittleEndian.Uint32(buf[1:5])), Text: string(buf[5:n]), Files: files}, nil
}

func received(oob []byte) (files []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	parts, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control message: %w", err)
	}
	for _, p := range parts {
		fds, err := unix.ParseUnixRights(&p)
		if err != nil {
			return files, fmt.Errorf("control message: %w", err)
		}
		files = append(files, fds...)
	}
	return files, nil
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
