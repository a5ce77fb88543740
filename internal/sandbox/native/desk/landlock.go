package desk

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock is the second wall around files: should a mount be too wide or a
// read-only flag be lost, the agent still writes only where the plan says.
// It also keeps signals and abstract sockets from leaving the agent's own
// processes, PID 1 being outside. The calls are made directly because the
// library restricts every thread of the process, and PID 1 must stay free to
// signal and reap.

const (
	landlockRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	// landlockFile are the rights that a file can have.
	landlockFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | landlockWrite
	landlockAll  = 1<<17 - 1
)

// landlockRights are the file rights that each version of Landlock knows.
var landlockRights = []uint64{
	0,
	1<<13 - 1, // 1: reading, writing, executing, making, removing
	1<<14 - 1, // 2: renaming between directories
	1<<15 - 1, // 3: truncating
	1<<15 - 1,
	1<<16 - 1, // 5: ioctl on devices
	1<<16 - 1, // 6: scopes
	1<<16 - 1,
	1<<16 - 1,
	1<<17 - 1, // 9: connecting to named sockets
}

// landlockVersion returns what the kernel offers, 0 where there is nothing.
func landlockVersion() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

type landlockRuleset struct{ fs, net, scoped uint64 }

// restrictFiles puts the calling thread behind Landlock and returns the
// version in force. Without Landlock in the kernel it returns 0.
func restrictFiles(writable []string) (int, error) {
	version := landlockVersion()
	if version == 0 {
		return 0, nil
	}
	handled := landlockRights[min(version, len(landlockRights)-1)]
	attr := landlockRuleset{fs: handled}
	if version >= 6 {
		attr.scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return 0, fmt.Errorf("landlock: %w", errno)
	}
	defer unix.Close(int(fd))
	if err := landlockPaths(int(fd), handled, writable); err != nil {
		return 0, err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return 0, fmt.Errorf("landlock: %w", errno)
	}
	return version, nil
}

func landlockPaths(ruleset int, handled uint64, writable []string) error {
	rules := []struct {
		path   string
		access uint64
	}{
		{"/", landlockRead},
		{"/dev", landlockRead | landlockWrite},
		{"/proc", landlockRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE},
		{"/dev/shm", landlockAll},
	}
	for _, r := range rules {
		if err := landlockPath(ruleset, r.path, r.access&handled); err != nil {
			return err
		}
	}
	for _, path := range writable {
		if err := landlockPath(ruleset, path, landlockAll&handled); err != nil {
			return err
		}
	}
	return nil
}

// landlockPath allows access at and below path.
func landlockPath(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("landlock: %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("landlock: %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= landlockFile
	}
	// The kernel's structure is packed: 12 bytes.
	var rule struct {
		access uint64
		fd     int32
	}
	rule.access, rule.fd = access, int32(fd)
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %s: %w", path, errno)
	}
	return nil
}
