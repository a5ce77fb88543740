package evaluator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxFrame bounds one message: a layer's sources and data, or the list of what
// they define.
const maxFrame = 32 << 20

// writeFrame writes a message with its length before it, in one write.
func writeFrame(w io.Writer, message []byte) error {
	if len(message) > maxFrame {
		return fmt.Errorf("a message of %d bytes is longer than %d", len(message), maxFrame)
	}
	frame := make([]byte, 4, 4+len(message))
	binary.BigEndian.PutUint32(frame, uint32(len(message)))
	_, err := w.Write(append(frame, message...))
	return err
}

// readFrame reads one message.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return nil, errors.New("the message is too long")
	}
	message := make([]byte, n)
	_, err := io.ReadFull(r, message)
	return message, err
}
