package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/carrel-dev/carrel"
)

// reserveSize is kept free for the last record of a log that cannot grow: a
// segment's block, the tail's and what the file system needs around them.
const reserveSize = 64 << 10

// keepReserve makes sure that the reserve is there. Without it the log does
// not open: it could not say that it is full.
func (s *store) keepReserve() error {
	path := filepath.Join(s.dir, "reserve")
	f, err := s.disk.open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if info.Size() >= reserveSize {
		return nil
	}
	err = writeAll(f, bytes.Repeat([]byte("reserve "), reserveSize/8), 0)
	if err == nil {
		err = f.sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w: no room for its reserve; free some space: %w", ErrFull, err), f.Truncate(0))
	}
	return nil
}

// lastWords gives the reserve up to write one final record: why the log
// closed. It does its best: the log is closed either way.
func (s *store) lastWords(cause error) {
	if !errors.Is(cause, syscall.ENOSPC) && !errors.Is(cause, syscall.EDQUOT) {
		return
	}
	f, err := s.disk.open(filepath.Join(s.dir, "reserve"), os.O_RDWR)
	if err != nil {
		return
	}
	defer f.Close()
	if f.Truncate(0) != nil || f.sync() != nil {
		return
	}
	at := now()
	r := carrel.Record{Kind: carrel.KindLog, Note: "full: no room for more records; actions were refused from here on"}
	stamp(&r)
	l, err := encode(&r)
	if err != nil {
		return
	}
	if l.hash(); s.write([]*line{l}) == nil {
		s.advance([]*line{l})
		_ = s.publish(at)
	}
}
