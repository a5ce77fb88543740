//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ContainerVerb is as Verb, for Container.
const ContainerVerb = "container"

// FirstUser is the host's number of a container's user 0. The container has
// so many users.
const (
	FirstUser = 100_000
	users     = 65_536
)

// staged begins the second stage's argument.
const staged = "inside:"

// Container is "UID[,KIND…] -- PROGRAM [ARG…]": it runs the program as a
// container engine without privileges would, in namespaces of its own whose
// user 0 is nobody on the host, as user UID of those. Only root can start it.
// KIND "no-userns" forbids further user namespaces, "masked-proc" covers parts
// of /proc. It returns the program's exit code.
func Container(args []string) int {
	if len(args) < 3 || args[1] != "--" {
		fmt.Fprintln(os.Stderr, "usage: container UID[,no-userns][,masked-proc] -- PROGRAM [ARG…]")
		return 2
	}
	if how, inside := strings.CutPrefix(args[0], staged); inside {
		fmt.Fprintln(os.Stderr, "container:", settleIn(how, args[2:]))
		return 2
	}
	cmd := exec.Command("/proc/self/exe", append([]string{ContainerVerb, staged + args[0], "--"}, args[2:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: FirstUser, Size: users}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "container:", err)
		return 2
	}
	return cmd.ProcessState.ExitCode()
}

// settleIn is the container's first process; it returns only if it fails.
func settleIn(how string, argv []string) error {
	words := strings.Split(how, ",")
	uid, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, kind := range words[1:] {
		switch kind {
		case "no-userns":
			err = os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0)
		case "masked-proc":
			err = unix.Mount("/dev/null", "/proc/timer_list", "", unix.MS_BIND, "")
		default:
			err = fmt.Errorf("no kind of container %q", kind)
		}
		if err != nil {
			return err
		}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups([]int{uid}), syscall.Setresgid(uid, uid, uid), syscall.Setresuid(uid, uid, uid)); err != nil {
		return err
	}
	return unix.Exec(path, argv, os.Environ())
}
