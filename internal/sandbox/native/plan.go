package native

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

const (
	// defaultPids bounds processes and threads where no limit is asked for:
	// more than any build needs, and less than what would choke the machine.
	defaultPids = 16_384
	// A tmpfs of no size of its own may take this part of the memory, …
	tmpShare = 4
	// … but is never too small to work with.
	minTmpSize = 256 << 20
)

// tmpSize bounds each tmpfs of a desk that names no size.
func tmpSize(l *sandbox.Limits) int64 {
	size := int64(minTmpSize)
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		size = max(size, int64(info.Totalram)*int64(info.Unit)/tmpShare)
	}
	for _, limit := range []int64{l.Memory, l.Disk} {
		if limit > 0 {
			size = min(size, limit)
		}
	}
	return size
}

func pids(l *sandbox.Limits) int64 {
	if l.Pids > 0 {
		return l.Pids
	}
	return defaultPids
}

var kinds = map[sandbox.MountKind]desk.MountKind{
	sandbox.MountBind:    desk.Bind,
	sandbox.MountOverlay: desk.Overlay,
	sandbox.MountTmpfs:   desk.Tmpfs,
	sandbox.MountFile:    desk.File,
	sandbox.MountDir:     desk.Dir,
	sandbox.MountSymlink: desk.Symlink,
	sandbox.MountSame:    desk.Same,
}

// planOf says to PID 1 what the specification asks, with the mounts that are
// not laid yet. An unknown kind of mount
// becomes kind 0, which PID 1 refuses.
func planOf(s *sandbox.Spec, mounts []sandbox.Mount, id Identity) *desk.Plan {
	p := &desk.Plan{
		Program: s.Program, Args: s.Args, Env: s.Env, Dir: s.Dir, Host: s.Host,
		Pty: s.Terminal != nil, Watched: s.Executed != nil, Handed: id.Borrowed,
		Pids: pids(&s.Limits), TmpSize: tmpSize(&s.Limits),
	}
	if p.Host == "" {
		p.Host = "carrel"
	}
	p.Mounts = mountsOf(mounts)
	return p
}

func mountsOf(mounts []sandbox.Mount) []desk.Mount {
	out := make([]desk.Mount, len(mounts))
	for i := range mounts {
		out[i] = mountOf(&mounts[i])
	}
	return out
}

func mountOf(m *sandbox.Mount) desk.Mount {
	return desk.Mount{
		Kind: kinds[m.Kind], Target: m.Target, Source: m.Source, Lower: m.Lower, Upper: m.Upper, Work: m.Work,
		Content: string(m.Content), Mode: m.Mode, Size: m.Size, Writable: m.Writable, NoExec: m.NoExec, Optional: m.Optional,
	}
}

// present returns the mounts without the optional ones that have no source.
func present(mounts []sandbox.Mount) []sandbox.Mount {
	out := make([]sandbox.Mount, 0, len(mounts))
	for _, m := range mounts {
		if m.Optional && m.Kind == sandbox.MountBind {
			if _, err := os.Stat(m.Source); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		out = append(out, m)
	}
	return out
}
