package workspace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// roomSize is how many steps share a directory inside a work directory: file
// systems take long to fill large ones, and one at a time.
const roomSize = 512

func roomOf(step int) string { return "r" + strconv.Itoa(step/roomSize) }

// makeRooms makes the directories that steps keep things in.
func (j *applyJournal) makeRooms(steps []applyStep) error {
	for i := 0; i < len(steps); i += roomSize {
		for _, fd := range j.work {
			if err := unix.Mkdirat(fd, roomOf(i), 0o700); err != nil {
				return fmt.Errorf("writing to %s: %w", j.Workspace, err)
			}
		}
	}
	return nil
}

// makeWork makes the work directory of a mount, opens it, and tries it.
func (j *applyJournal) makeWork(t *applyTree, mount carrel.Text) error {
	_, root, err := t.mounts.above(string(mount))
	if err == nil {
		err = unix.Mkdirat(root, j.Work, 0o700)
	}
	if err != nil {
		return fmt.Errorf("writing to %s: %w", filepath.Join(string(j.Workspace), string(mount)), err)
	}
	if err := j.openWork(t, mount); err != nil {
		return err
	}
	return probe(j.work[mount])
}

func (j *applyJournal) openWork(t *applyTree, mount carrel.Text) error {
	at, root, err := t.mounts.above(string(mount))
	if err == nil && at != string(mount) {
		err = fmt.Errorf("what was mounted at %s is not any more; mount it again, so that the apply can be ended there", filepath.Join(string(j.Workspace), string(mount)))
	}
	if err != nil {
		return err
	}
	fd, err := openBeneath(root, j.Work, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || int(st.Uid) != os.Geteuid() {
		unix.Close(fd)
		return errors.Join(fmt.Errorf("%s is not the directory that was made", j.Work), err)
	}
	j.work[mount] = fd
	return nil
}

// probe tries what the apply rests on: two names exchanged in one step.
func probe(dir int) error {
	for _, name := range []string{"a", "b"} {
		fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return fmt.Errorf("writing to the workspace: %w", err)
		}
		unix.Close(fd)
	}
	if err := unix.Renameat2(dir, "a", dir, "b", unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("the workspace's file system cannot exchange two files in one step, without which nothing can be replaced safely; apply to a branch (carrel apply --branch NAME), or work on a local file system: %w", err)
	}
	return errors.Join(unix.Unlinkat(dir, "a", 0), unix.Unlinkat(dir, "b", 0))
}

// maxTrash bounds what an apply replaced and is not deleted at once.
const maxTrash = 256 << 20

// dispose takes the work directory below root away: to the trash, where it is
// on the same file system, so that nobody waits for its files to be deleted.
func (j *applyJournal) dispose(root int) error {
	var st unix.Stat_t
	if err := statAt(root, j.Work, &st); errors.Is(err, unix.ENOENT) {
		return nil // also where nothing could be written
	}
	var size int64
	for i := range j.Steps {
		size += j.Steps[i].Old.Size
	}
	if size <= maxTrash {
		bin := filepath.Join(filepath.Dir(filepath.Dir(j.file)), "trash")
		err := os.MkdirAll(bin, 0o700)
		if err == nil {
			err = unix.Renameat2(root, j.Work, unix.AT_FDCWD, filepath.Join(bin, string(carrel.NewDeskID())), unix.RENAME_NOREPLACE)
		}
		if err == nil {
			return nil
		}
	}
	return (&remover{top: root}).removeAll(root, j.Work)
}

// workPrefix begins the names of work directories.
const workPrefix = ".carrel-apply-"
