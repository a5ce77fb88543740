package workspace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// treeIdentity tells a directory from another one that is at its path later:
// inode numbers are used again at once, so the time of birth counts as well.
type treeIdentity struct {
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born,omitempty"` // nanoseconds; 0 where the file system does not say
}

func identityOf(path string) (treeIdentity, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil {
		return treeIdentity{}, fmt.Errorf("looking at %s: %w", path, err)
	}
	id := treeIdentity{Inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id, nil
}

// same reports whether two identities can be of one directory.
func (a treeIdentity) same(b treeIdentity) bool {
	return a.Inode == b.Inode && (a.Born == b.Born || a.Born == 0 || b.Born == 0)
}

// ErrReplaced means that the directory a desk was made for is no longer at its
// path: its work has nothing to be compared with.
var ErrReplaced = errors.New("another directory is at the path of the desk's workspace")

// Replaced reports whether the desk's workspace has made way for another
// directory of the same path, as after deleting and cloning it again.
func (s *Seat) Replaced() bool {
	now, err := identityOf(s.ws.root)
	return err != nil || !s.meta.same(now)
}
