package native

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// memory reads what a waiting process points to.
type memory struct{ pid int }

const pageSize = 4096 // the smallest there is: a read that stays in one cannot fail half way

var errLong = errors.New("longer than what is read of a command")

// text reads a string that ends with a zero byte.
func (m memory) text(at uint64, limit int) (string, error) {
	var out []byte
	for len(out) <= limit {
		part := make([]byte, pageSize-at%pageSize)
		n, err := m.read(part, at)
		if err != nil {
			return "", err
		}
		if end := bytes.IndexByte(part[:n], 0); end >= 0 {
			return string(append(out, part[:end]...)), nil
		}
		out, at = append(out, part[:n]...), at+uint64(n)
	}
	return "", errLong
}

// list reads an array of strings that ends with a null pointer.
func (m memory) list(at uint64) (out []string, err error) {
	if at == 0 {
		return nil, nil
	}
	if at%8 != 0 {
		return nil, errors.New("the arguments of a command lie where no program puts them")
	}
	left := maxCommand
	for len(out) < maxArguments {
		part := make([]byte, pageSize-at%pageSize)
		n, err := m.read(part, at)
		if err != nil {
			return out, err
		}
		for i := 0; i+8 <= n; i += 8 {
			p := binary.LittleEndian.Uint64(part[i:])
			if p == 0 {
				return out, nil
			}
			text, err := m.text(p, left)
			if err != nil {
				return out, err
			}
			if out, left = append(out, text), left-len(text); len(out) == maxArguments {
				return out, errLong
			}
		}
		at += uint64(n)
	}
	return out, errLong
}

func (m memory) read(into []byte, at uint64) (int, error) {
	local := []unix.Iovec{{Base: &into[0], Len: uint64(len(into))}}
	n, err := unix.ProcessVMReadv(m.pid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(into)}}, 0)
	if err == nil && n == 0 {
		err = errors.New("nothing there")
	}
	if err != nil {
		return 0, fmt.Errorf("reading a command: %v", err) // its errno is not about the program's path
	}
	return n, nil
}
