package workspace

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/private"
)

// copyIndex remembers what a copy was made from, by relative path. It lies
// outside what the agent can reach. Whether the agent touched a file is told
// by inode and ctime of the copy, which nobody inside can set.
type copyIndex map[string]copied

type copied struct {
	Lower, Copy version
	Mode        uint32 // of the original, with its type
	Size        int64
}

// version identifies the state of an inode.
type version struct {
	Ino   uint64
	Ctime int64 // nanoseconds
}

func versionOf(st *unix.Stat_t) version { return version{st.Ino, st.Ctim.Nano()} }

func (v version) time() time.Time { return time.Unix(0, v.Ctime).UTC() }

func (s *Seat) indexFile(l *Layer) string { return filepath.Join(s.dir, l.Name+".index") }

func (s *Seat) readIndex(l *Layer) (copyIndex, error) {
	idx := copyIndex{}
	if err := readGob(s.indexFile(l), &idx); err != nil {
		return nil, fmt.Errorf("reading the index of the copy: %w", err)
	}
	return idx, nil
}

func (s *Seat) writeIndex(l *Layer, idx copyIndex) error {
	if err := writeGob(s.indexFile(l), idx, private.ReplaceSoon); err != nil {
		return fmt.Errorf("writing the index of the copy: %w", err)
	}
	return nil
}
