package workspace

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxPieces bounds the mounts of one desk: beyond it everything is copied.
const maxPieces = 128

// Magic numbers of file systems that the x/sys package does not name.
const (
	magicMQueue   = 0x19800202
	magicFuseCtl  = 0x65735543
	magicConfigFS = 0x62656570
)

// pseudo lists file systems that hold no files but views of the machine, by
// their magic numbers. An agent sees an empty directory in their place.
var pseudo = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.DEVPTS_SUPER_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true,
	unix.CGROUP2_SUPER_MAGIC: true, unix.DEBUGFS_MAGIC: true, unix.TRACEFS_MAGIC: true, unix.SECURITYFS_MAGIC: true,
	unix.BPF_FS_MAGIC: true, unix.BINFMTFS_MAGIC: true, unix.PSTOREFS_MAGIC: true, unix.HUGETLBFS_MAGIC: true,
	unix.EFIVARFS_MAGIC: true, unix.NSFS_MAGIC: true, unix.SELINUX_MAGIC: true, unix.AUTOFS_SUPER_MAGIC: true,
	magicMQueue: true, magicFuseCtl: true, magicConfigFS: true,
}

// mountInside is a mount below the workspace's root.
type mountInside struct {
	rel    string
	dir    bool   // else a single file
	hidden string // why nothing of it is shown; "" if it is
	copy   bool   // it must be copied: no overlay of it, or none whose clock is known
}

// mountsInside lists the mounts below root, parents first.
func (s *Seat) mountsInside(opts SeatOptions) ([]mountInside, error) {
	at, err := mountsBelow(s.ws.root)
	if err != nil {
		return nil, err
	}
	out := make([]mountInside, 0, len(at))
	for _, p := range at {
		m := mountInside{rel: strings.TrimPrefix(p, s.ws.root+"/")}
		if slices.ContainsFunc(out, func(above mountInside) bool { return above.hidden != "" && within(m.rel, above.rel) }) {
			continue
		}
		var st unix.Stat_t
		var fs unix.Statfs_t
		err := unix.Lstat(p, &st)
		if err == nil {
			err = unix.Statfs(p, &fs)
		}
		m.dir = err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR
		switch {
		case err != nil:
			m.hidden = fmt.Sprintf("it cannot be read (%v)", err)
		case pseudo[int64(fs.Type)]:
			m.hidden = "it is a view of the machine"
		case networked(p):
			m.copy = true
		case m.dir:
			m.copy = opts.doubt(p, s.dir) != ""
		}
		out = append(out, m)
	}
	return out, nil
}

// checkMounts refuses to go on with work on other mounts than it began with.
func (s *Seat) checkMounts() error {
	same, err := s.sameMounts()
	if err != nil || same || s.meta.Staging == StagingCopy {
		return err
	}
	return fmt.Errorf("what is mounted inside the workspace is not what it was when the work at this desk began (then: %q); mount it as it was, apply or discard the work (carrel review), or start beside it with --fresh: %w", s.meta.Mounts, ErrRefused)
}

// sameMounts reports whether the workspace has the mounts it had when the
// layers were made.
func (s *Seat) sameMounts() (bool, error) {
	now, err := mountsBelow(s.ws.root)
	return slices.Equal(now, s.meta.Mounts), err
}
