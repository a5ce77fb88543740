package native

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// A desk started by root runs as a user that owns nothing, so the supervisor
// opens what the desk shows and hands it in: PID 1 could not even look at it.
// What is adopted is shown through a mount that swaps its owner for the
// desk's user.

// batch is how many mounts go into one message.
const batch = 32

// handed are the plan's trees, opened, in order.
type handed struct {
	fds []int
	err error
}

// openHanded opens the trees of mounts; overlays once their layers are
// settled.
func openHanded(from *seed, mounts []sandbox.Mount, settled <-chan error) handed {
	owners := owners{from: from, spaces: map[owner]int{}}
	defer owners.close()
	return owners.openAll(mounts, settled)
}

func (o *owners) openAll(mounts []sandbox.Mount, settled <-chan error) (h handed) {
	waited := false
	for i := range mounts {
		m := &mounts[i]
		if m.Kind != sandbox.MountBind && m.Kind != sandbox.MountOverlay {
			continue
		}
		if m.Kind == sandbox.MountOverlay && !waited {
			if h.err = <-settled; h.err != nil {
				return h
			}
			waited = true
		}
		fd, err := o.open(m)
		if err != nil {
			h.err = fmt.Errorf("mounting %s: %w", m.Target, err)
			return h
		}
		h.fds = append(h.fds, fd)
	}
	return h
}

// handMounts sends the trees.
func (d *Desk) handMounts() error {
	h := <-d.trees
	defer d.dropTrees()
	d.trees <- h // dropTrees closes them
	if h.err != nil {
		return h.err
	}
	return h.send(d.link)
}

// send hands the trees in.
func (h handed) send(link *desk.Link) error {
	for start := 0; start < len(h.fds); start += batch {
		part := h.fds[start:min(start+batch, len(h.fds))]
		if err := unlessGone(link.Send(desk.Message{Kind: desk.Mounts, Files: part})); err != nil {
			return fmt.Errorf("handing mounts in: %w", err)
		}
	}
	return nil
}

// dropTrees closes the supervisor's hold on the trees, once.
func (d *Desk) dropTrees() {
	if d.trees != nil {
		desk.CloseAll((<-d.trees).fds)
		d.trees = nil
	}
}

// owner is a user and group that own files of the host.
type owner struct{ uid, gid uint32 }

// owners keeps one user namespace per owner whose files are adopted.
type owners struct {
	from   *seed
	spaces map[owner]int // but root's, which is the seed's
}

func (o *owners) close() {
	for _, fd := range o.spaces {
		unix.Close(fd)
	}
}

func (o *owners) open(m *sandbox.Mount) (int, error) {
	space := -1
	if m.Adopt {
		var err error
		if space, err = o.spaceFor(m.Source + m.Lower); err != nil {
			return -1, err
		}
	}
	if m.Kind == sandbox.MountOverlay {
		if err := o.own(m.Upper); err != nil {
			return -1, err
		}
	}
	plain := mountOf(m)
	fd, err := desk.OpenTree(&plain, space)
	if err != nil && space >= 0 && m.Kind == sandbox.MountBind && !m.Writable {
		// The file system, or the kernel, cannot show it through a mapping: the
		// desk reads of it what everybody may.
		return desk.OpenTree(&plain, -1)
	}
	return fd, err
}

// own gives the upper layer's root to the desk's user, who writes there.
func (o *owners) own(upper string) error {
	if err := os.Lchown(upper, o.from.id.Outside, o.from.id.Group); err != nil {
		return fmt.Errorf("giving the layer of changes to the desk: %w", err)
	}
	return nil
}

// spaceFor returns the user namespace in which the owner of path is the
// desk's user.
func (o *owners) spaceFor(path string) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return -1, &os.PathError{Op: "looking at", Path: path, Err: err}
	}
	who := owner{st.Uid, st.Gid}
	if int(who.uid) == o.from.id.Outside && int(who.gid) == o.from.id.Group {
		return -1, nil // the desk's already
	}
	if (who == owner{}) && o.from.space != nil {
		return o.from.space()
	}
	if fd, ok := o.spaces[who]; ok {
		return fd, nil
	}
	fd, err := holdSpace(o.from.image, o.from.id, who)()
	if err == nil {
		o.spaces[who] = fd
	}
	return fd, err
}

// holdSpace makes a user namespace by starting a process in it. What it returns
// maps the namespace and gives its descriptor, which outlives the process; it
// must be called. The process is the first of its PID namespace, so that Ctrl-Z,
// which reaches all of this process's group, does not stop it: this process
// would wait for it, and could not be stopped itself.
func holdSpace(image *os.File, id Identity, who owner) func() (int, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return func() (int, error) { return -1, err }
	}
	defer r.Close()
	pid, err := execute(image, []string{desk.Name, desk.Hold}, &syscall.ProcAttr{
		Env:   []string{},
		Files: []uintptr{r.Fd()},
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | sharing},
	})
	if err != nil {
		w.Close()
		return func() (int, error) {
			return -1, fmt.Errorf("making a user namespace for the owner %d: %w", who.uid, err)
		}
	}
	return func() (int, error) { return takeSpace(pid, w, id, who) }
}

// takeSpace maps the user namespace of a process, opens it and ends the
// process.
func takeSpace(pid int, w *os.File, id Identity, who owner) (int, error) {
	merr := mapIDs(pid, mapping{int(who.uid), int(who.gid), id.Outside, id.Group, true})
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	w.Close()
	_ = syscall.Kill(pid, syscall.SIGKILL) // it would end by itself, but has hardly begun
	for {
		if _, werr := syscall.Wait4(pid, nil, 0, nil); !errors.Is(werr, syscall.EINTR) {
			break
		}
	}
	if err == nil && merr != nil {
		unix.Close(fd)
	}
	if err := errors.Join(merr, err); err != nil {
		return -1, fmt.Errorf("opening a user namespace: %w", err)
	}
	return fd, nil
}
