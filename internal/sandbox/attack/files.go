//go:build linux

package attack

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// reads opens a file and looks for the canary.
func reads(path func(*Stage) string) func(*Stage) error {
	return func(s *Stage) error {
		b, err := os.ReadFile(path(s))
		if err == nil && len(b) == 0 {
			return stopped("empty")
		}
		return err
	}
}

// lists opens a directory.
func lists(path func(*Stage) string) func(*Stage) error {
	return func(s *Stage) error {
		names, err := os.ReadDir(path(s))
		if err == nil && len(names) == 0 {
			return stopped("empty")
		}
		return err
	}
}

// opens opens a file for writing, and writes nothing.
func opens(path func(*Stage) string) func(*Stage) error {
	return func(s *Stage) error {
		f, err := os.OpenFile(path(s), os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return err
	}
}

// makes makes a directory and removes it.
func makes(path func(*Stage) string) func(*Stage) error {
	return func(s *Stage) error {
		name := path(s)
		err := os.Mkdir(name, 0o700)
		if err == nil {
			_ = os.Remove(name)
		}
		return err
	}
}

func at(path string) func(*Stage) string { return func(*Stage) string { return path } }

func inHome(name string) func(*Stage) string {
	return func(s *Stage) string { return filepath.Join(s.Home, name) }
}

func inWorkspace(name string) func(*Stage) string {
	return func(s *Stage) string { return filepath.Join(s.Workspace, name) }
}

func canary(s *Stage) string { return filepath.Join(s.Outside, "canary") }

// own is a file of the agent's own, in its workspace.
func own(s *Stage) (string, error) {
	name := filepath.Join(s.Workspace, "own")
	return name, os.WriteFile(name, []byte("own"), 0o644)
}

func readsOwn(s *Stage) error {
	name, err := own(s)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(name)
	if err == nil && string(b) != "own" {
		return fmt.Errorf("it has %q", b)
	}
	return err
}

// ownHome is the desk's own home.
func ownHome(s *Stage) error {
	name := filepath.Join(s.OwnHome, ".attack")
	defer os.Remove(name)
	return os.WriteFile(name, []byte("own"), 0o600)
}

func files() []Attack {
	var rows []Attack
	for _, name := range Secrets {
		rows = append(rows, Attack{Name: "home:" + name, Tries: "read ~/" + name + " of the host", Try: reads(inHome(name)), By: absent,
			Twin: ownHome, TwinTries: "write to the desk's own home"})
	}
	const readTwin, writeTwin = "read a file of the workspace", "make a directory in the workspace"
	within := makes(inWorkspace("dir"))
	rows = append(rows, []Attack{
		{Name: "home:inside", Tries: "read ~/.ssh/id_ed25519 of the desk's own home", Try: reads(func(s *Stage) string { return filepath.Join(s.OwnHome, ".ssh/id_ed25519") }), By: absent, Twin: ownHome, TwinTries: "write to the desk's own home"},
		{Name: "home:list", Tries: "list the host's home", Try: lists(inHome("")), By: absent, Twin: lists(inWorkspace("")), TwinTries: "list the workspace"},
		{Name: "shadow", Tries: "read /etc/shadow", Try: reads(at("/etc/shadow")), By: either(absent, forbidden), Twin: reads(at("/etc/passwd")), TwinTries: "read /etc/passwd"},
		{Name: "outside", Tries: "read a file beside the workspace", Try: reads(canary), By: absent, Twin: readsOwn, TwinTries: readTwin},
		{Name: "outside:dots", Tries: "read it through /workspace/../..", Try: reads(func(s *Stage) string { return s.Workspace + "/../../../../../../../.." + canary(s) }),
			By: absent, Twin: reads(func(s *Stage) string { return s.Workspace + "/../.." + s.Workspace + "/own" }), TwinTries: "read a file of the workspace through .."},
		{Name: "outside:link", Tries: "read it through a link of the repository", Try: reads(func(s *Stage) string { return filepath.Join(s.Workspace, s.Link) }), By: absent,
			Twin: readsThroughLink, TwinTries: "read through a link within the workspace", Needs: func(s *Stage) bool { return s.Link != "" }},
		{Name: "outside:root-of-1", Tries: "read it through /proc/1/root", Try: reads(func(s *Stage) string { return "/proc/1/root" + canary(s) }), By: either(absent, forbidden),
			Twin: reads(func(s *Stage) string { return "/proc/self/root" + s.Workspace + "/own" }), TwinTries: "read the workspace through /proc/self/root"},
		{Name: "outside:root-of-self", Tries: "read it through /proc/self/root", Try: reads(func(s *Stage) string { return "/proc/self/root" + canary(s) }), By: absent,
			Twin: reads(func(s *Stage) string { return "/proc/self/root" + s.Workspace + "/own" }), TwinTries: "read the workspace through /proc/self/root"},
		{Name: "outside:cwd-of-1", Tries: "list /proc/1/cwd", Try: lists(at("/proc/1/cwd/")), By: forbidden, Twin: lists(at("/proc/self/cwd/")), TwinTries: "list /proc/self/cwd"},
		{Name: "outside:descriptor", Tries: "climb out by openat from an own directory", Try: climbs, By: absent, Twin: readsOwn, TwinTries: readTwin},
		{Name: "hidden", Tries: "read a file that --hide names", Try: reads(func(s *Stage) string { return filepath.Join(s.Workspace, s.Hidden) }), By: absent,
			Twin: readsOwn, TwinTries: readTwin, Needs: func(s *Stage) bool { return s.Hidden != "" }},
		{Name: "write:root", Tries: "make a directory in /", Try: makes(at("/attack")), By: readOnly, Twin: within, TwinTries: writeTwin},
		{Name: "write:usr", Tries: "make a directory in /usr/bin", Try: makes(at("/usr/bin/attack")), By: readOnly, Twin: within, TwinTries: writeTwin},
		{Name: "write:etc", Tries: "open /etc/passwd for writing", Try: opens(at("/etc/passwd")), By: readOnly, Twin: makes(at("/tmp/attack")), TwinTries: "make a directory in /tmp"},
		{Name: "write:dev", Tries: "make a directory in /dev", Try: makes(at("/dev/attack")), By: readOnly, Twin: makes(at("/dev/shm/attack")), TwinTries: "make a directory in /dev/shm"},
		{Name: "write:beside", Tries: "open a file beside the workspace for writing", Try: opens(canary), By: either(absent, readOnly),
			Twin: within, TwinTries: writeTwin},
	}...)
	return append(rows, readOnlyFile()...)
}

// readOnlyFile are attacks on a file that is shown and must not change.
func readOnlyFile() []Attack {
	shown := func(s *Stage) string { return s.ReadOnly }
	needs := func(s *Stage) bool { return s.ReadOnly != "" }
	ways := []struct {
		name, tries string
		try         func(path, scratch string) error
	}{
		{"open", "open for writing", func(p, _ string) error { return opens(at(p))(nil) }},
		{"truncate", "truncate, to its own length,", func(p, _ string) error {
			fi, err := os.Stat(p)
			if err != nil {
				return err
			}
			return os.Truncate(p, fi.Size())
		}},
		{"chmod", "change the mode of", func(p, _ string) error {
			fi, err := os.Stat(p)
			if err != nil {
				return err
			}
			return os.Chmod(p, fi.Mode())
		}},
		{"utime", "change the time of", func(p, _ string) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}}, 0)
		}},
		{"xattr", "set an attribute of", func(p, _ string) error { return unix.Setxattr(p, "user.attack", nil, 0) }},
		{"link", "link into the workspace", func(p, scratch string) error { return os.Link(p, scratch) }},
		{"rename", "move into the workspace", func(p, scratch string) error { return os.Rename(p, scratch) }},
		{"reopen", "open again for writing, through /proc/self/fd,", func(p, _ string) error {
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			return opens(at(fmt.Sprintf("/proc/self/fd/%d", f.Fd())))(nil)
		}},
	}
	var rows []Attack
	for _, w := range ways {
		rows = append(rows, Attack{Name: "read-only:" + w.name, Tries: w.tries + " a file that is shown read-only", Needs: needs,
			Try:  func(s *Stage) error { return w.try(shown(s), filepath.Join(s.Workspace, "taken")) },
			By:   either(readOnly, []error{unix.EXDEV, unix.EBUSY}),
			Twin: func(s *Stage) error { return onOwn(s, w.try) }, TwinTries: "the same with a file of the workspace"})
	}
	return rows
}

// onOwn does to a file of the agent's own what must not be done to others. An
// overlay need not carry attributes.
func onOwn(s *Stage, try func(path, scratch string) error) error {
	name, err := own(s)
	if err != nil {
		return err
	}
	scratch := name + ".moved"
	defer os.Remove(scratch)
	if err := try(name, scratch); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	return nil
}

func readsThroughLink(s *Stage) error {
	name, err := own(s)
	if err != nil {
		return err
	}
	link := name + ".link"
	defer os.Remove(link)
	if err := os.Symlink("own", link); err != nil {
		return err
	}
	b, err := os.ReadFile(link)
	if err == nil && !bytes.Equal(b, []byte("own")) {
		return fmt.Errorf("it has %q", b)
	}
	return err
}

// climbs goes up from the workspace's descriptor and down to the canary.
func climbs(s *Stage) error {
	dir, err := unix.Open(s.Workspace, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, "../../../../../../../.."+canary(s), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}
