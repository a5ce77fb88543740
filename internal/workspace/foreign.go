package workspace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxLooked bounds how many entries at the top of a workspace are looked at, so
// that a start takes no longer in a big one.
const maxLooked = 1000

// foreign says why an overlay would be of little use: most of what lies at the
// top belongs to users or groups that the desk has not, as in a directory that
// a group shares or on a file system without owners, and the kernel copies
// nothing of theirs into the layer of a desk. What is only a part is noted.
func (s *Seat) foreign(opts SeatOptions) (why string, err error) {
	d, err := os.Open(s.ws.root)
	if err != nil {
		return "", fmt.Errorf("looking at the workspace: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(maxLooked)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("looking at the workspace: %w", err)
	}
	uid, gid, err := s.mapped(opts)
	if err != nil {
		return "", err
	}
	others, of := 0, ""
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Uid == uid && st.Gid == gid {
			continue
		}
		// What its user cannot change outside either is no matter.
		if opts.OwnerUID != 0 || st.Mode&unix.S_IFMT != unix.S_IFLNK && unix.Faccessat(int(d.Fd()), name, unix.W_OK, 0) == nil {
			others, of = others+1, fmt.Sprintf("%s belongs to user %d and group %d, and the desk has %d and %d", filepath.Join(s.ws.root, name), st.Uid, st.Gid, uid, gid)
		}
	}
	switch {
	case others == 0:
		return "", nil
	case 2*others > len(names) && opts.Staging != StagingOverlay:
		return fmt.Sprintf("%s, as with %d of %d here", of, others, len(names)), nil
	}
	s.note(of + ": in an overlay the agent cannot change such files; --staging copy lets it")
	return "", nil
}

// mapped is the one user and group of the workspace that a desk has: the
// caller's own or, where root starts it, those of the directory.
func (s *Seat) mapped(opts SeatOptions) (uid, gid uint32, err error) {
	if opts.OwnerUID == 0 {
		return uint32(os.Getuid()), uint32(os.Getgid()), nil
	}
	var st unix.Stat_t
	if err := unix.Stat(s.ws.root, &st); err != nil {
		return 0, 0, fmt.Errorf("looking at the workspace: %w", err)
	}
	return st.Uid, st.Gid, nil
}
