package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// stage writes everything that is new into the work directories: verified,
// with its final mode and owner, and on disk before anything of the tree moves.
func (p *applyPlan) stage(ctx context.Context, j *applyJournal) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0)) // making files is computing, mostly
	for start := 0; start < len(p.steps); start += roomSize {
		room := p.steps[start:min(start+roomSize, len(p.steps))]
		group.Go(func() error { return p.stageRoom(ctx, j, room) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := p.tree.mounts.sync(); err != nil {
		return fmt.Errorf("writing to disk: %w", err)
	}
	return nil
}

// stageRoom stages the steps that share a directory.
func (p *applyPlan) stageRoom(ctx context.Context, j *applyJournal, steps []applyStep) error {
	w := stager{applyPlan: p, tree: p.tree.fork()}
	defer w.tree.forget()
	for i := range steps {
		s := &steps[i]
		if s.Kind != stepSwap && s.Kind != stepPut {
			continue
		}
		if err := errors.Join(ctx.Err(), p.point("stage")); err != nil {
			return err
		}
		if err := w.stageStep(j, s); err != nil {
			return fmt.Errorf("writing %q: %w", s.Path, err)
		}
	}
	return nil
}

// stager stages steps of a plan with a hold on the tree of its own.
type stager struct {
	*applyPlan
	tree *applyTree
}

func (p stager) stageStep(j *applyJournal, s *applyStep) error {
	uid, gid, err := p.ownerFor(s)
	if err != nil {
		return err
	}
	at := path.Join(string(s.Mount), j.Work, s.Work)
	if s.Staged, err = p.stageFile(at, s.file, uid, gid); err != nil {
		return err
	}
	if s.file.Kind != carrel.FileDir {
		return nil
	}
	inside := p.inside[string(s.Path)]
	for _, f := range inside {
		rel := strings.TrimPrefix(string(f.Path), string(s.Path)+"/")
		ino, err := p.stageFile(path.Join(at, rel), f, uid, gid)
		if err != nil {
			return fmt.Errorf("%q: %w", f.Path, err)
		}
		s.Inside = append(s.Inside, insideEntry{carrel.Text(rel), ino, f.Digest})
	}
	// From the inside out: a directory may forbid what was needed to fill it.
	for i := len(inside) - 1; i >= 0; i-- {
		if f := inside[i]; f.Kind == carrel.FileDir {
			rel := strings.TrimPrefix(string(f.Path), string(s.Path)+"/")
			if err := p.tree.chmod(path.Join(at, rel), f.Mode&0o777); err != nil {
				return err
			}
		}
	}
	// A directory that its owner cannot write cannot be moved into place.
	return p.tree.chmod(at, s.Mode|0o700)
}

// ownerFor is who owns what is staged: the owner of what it replaces, or, for
// what is new, whoever a program of the tree's owner would have made it for.
func (p stager) ownerFor(s *applyStep) (uid, gid int, err error) {
	if s.Kind == stepSwap {
		return int(s.Old.UID), int(s.Old.GID), nil
	}
	dir, _, err := p.tree.parent(string(s.Path))
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(dir, &st)
	}
	uid, gid = os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = int(st.Uid), int(st.Gid)
	}
	if st.Mode&unix.S_ISGID != 0 {
		gid = int(st.Gid)
	}
	return uid, gid, err
}

// stageFile makes one entry at a path below the work directory.
func (p stager) stageFile(at string, f *carrel.FileChange, uid, gid int) (ino uint64, err error) {
	dir, name, err := p.tree.parent(at)
	if err != nil {
		return 0, err
	}
	switch f.Kind {
	case carrel.FileDir:
		err = unix.Mkdirat(dir, name, 0o700)
	case carrel.FileLink:
		if !carrel.DigestBytes([]byte(f.Target)).Equal(f.Digest) {
			return 0, fmt.Errorf("the link's target does not match its digest")
		}
		err = unix.Symlinkat(string(f.Target), dir, name)
	default:
		err = p.stageContent(dir, name, f, uid, gid)
	}
	var st unix.Stat_t
	if err == nil {
		err = statAt(dir, name, &st)
	}
	if err == nil && f.Kind != carrel.FileRegular {
		err = chownAt(dir, name, &st, uid, gid)
	}
	return st.Ino, err
}

// stageContent copies frozen content; the store verifies the digest of what
// was written. The file has no attribute but mode and owner, and never a
// setuid, setgid or sticky bit.
func (p stager) stageContent(dir int, name string, f *carrel.FileChange, uid, gid int) error {
	fd, err := unix.Openat(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	n, err := p.opts.Blobs.CopyTo(file, f.Digest)
	if err != nil {
		return err
	}
	if n != f.Size {
		return fmt.Errorf("content has %d bytes, the change says %d", n, f.Size)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := chownAt(dir, name, &st, uid, gid); err != nil {
		return err
	}
	return unix.Fchmod(fd, f.Mode&0o777)
}

// chownAt gives a fresh entry to its owner. A group that the user is not in
// cannot be given; then the user's own stays, as with any new file.
func chownAt(dir int, name string, st *unix.Stat_t, uid, gid int) error {
	if int(st.Uid) == uid && int(st.Gid) == gid {
		return nil
	}
	err := unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.EPERM && int(st.Uid) == uid {
		return nil
	}
	return err
}

// chmod sets the permission bits of a file or directory, never of a link.
func (t *applyTree) chmod(rel string, mode uint32) error {
	dir, name, err := t.parent(rel)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.ELOOP
	}
	// A descriptor opened with O_PATH can only be changed through its name.
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}
