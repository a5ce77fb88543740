package native

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// OverlayWorks tries an overlay over lower, with its layers in a directory
// that it makes in upperParent and removes again. An error says why a desk
// could not have one; its workspace must be copied then.
func OverlayWorks(lower, upperParent string) error {
	dir, err := os.MkdirTemp(upperParent, ".try-overlay-")
	if err != nil {
		return fmt.Errorf("trying an overlay: %w", err)
	}
	defer func() {
		_, _ = settleLayer(dir+"/upper", dir+"/work") // opens the kernel's own directories, which would stay
		os.RemoveAll(dir)
	}()
	m := sandbox.Mount{Kind: sandbox.MountOverlay, Lower: lower, Upper: dir + "/upper", Work: dir + "/work", Adopt: true}
	if err := errors.Join(os.Mkdir(m.Upper, 0o755), os.Mkdir(m.Work, 0o755)); err != nil {
		return fmt.Errorf("trying an overlay: %w", err)
	}
	id, err := Who()
	if err != nil {
		return err
	}
	var i image
	image, err := i.open("")
	if err != nil {
		return err
	}
	defer image.Close()
	if !id.Borrowed {
		return tryInside(image, id, &m)
	}
	owners := owners{from: &seed{image: image, id: id}, spaces: map[owner]int{}}
	defer owners.close()
	fd, err := owners.open(&m)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// tryInside mounts the overlay in namespaces of its own, as a desk would.
func tryInside(image *os.File, id Identity, m *sandbox.Mount) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	attr := attributes()
	attr.Cloneflags, attr.Pdeathsig = unix.CLONE_NEWUSER|unix.CLONE_NEWNS, 0
	// It begins at once, so it must find its users mapped.
	to := id.mapping()
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: to.uid, HostID: to.hostUID, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: to.gid, HostID: to.hostGID, Size: 1}}
	pid, err := execute(image, []string{desk.Name, desk.Try, m.Lower, m.Upper, m.Work},
		&syscall.ProcAttr{Env: []string{}, Files: []uintptr{w.Fd(), w.Fd(), w.Fd()}, Sys: attr})
	w.Close()
	if err != nil {
		return whyNoNamespaces(err)
	}
	said, _ := io.ReadAll(io.LimitReader(r, maxDiagnosis))
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if status.Exited() && status.ExitStatus() == 0 {
		return nil
	}
	return fmt.Errorf("an overlay is not possible here: %s", bytes.TrimSpace(said))
}
