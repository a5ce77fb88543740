package desk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// findings are what look tries, by the name of the control that must stop it.
// Each returns what it could do, or "".
var findings = []struct {
	control string
	try     func() string
}{
	{"files", lookFiles},
	{"processes", lookProcesses},
	{"privilege", lookPrivilege},
	{"syscalls", lookCalls},
	{"network", lookNetwork},
	{"streams", lookStreams},
}

// look tries to get through every wall and prints "control: what it could do"
// for each that it got through. It ends with "looked", without which nothing
// is known.
func look() int {
	for _, f := range findings {
		if found := f.try(); found != "" {
			fmt.Printf("%s: %s\n", f.control, found)
		}
	}
	fmt.Println("looked")
	return 0
}

func lookFiles() string {
	entries, err := os.ReadDir("/")
	if err != nil {
		return ""
	}
	for _, e := range entries {
		switch e.Name() {
		case "root", "boot", "sys", "mnt", "var", "run", "home":
			return "the host's /" + e.Name() + " is visible"
		}
	}
	for _, dir := range []string{"/", "/dev", "/proc/sys/kernel"} {
		if unix.Access(dir, unix.W_OK) == nil {
			return dir + " can be written"
		}
	}
	return ""
}

func lookProcesses() string {
	if err := unix.Kill(1, 0); err == nil && landlockVersion() >= 6 {
		return "PID 1 can be signalled"
	}
	if err := unix.PtraceAttach(1); err == nil {
		return "PID 1 can be traced"
	}
	if _, err := os.Open("/proc/1/mem"); err == nil {
		return "the memory of PID 1 can be opened"
	}
	if unix.Getppid() != 1 {
		return "the parent is not PID 1 of the desk"
	}
	return ""
}

func lookPrivilege() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "/proc/self/status cannot be read"
	}
	for _, line := range strings.Split(string(status), "\n") {
		name, value, _ := strings.Cut(line, ":\t")
		if strings.HasPrefix(name, "Cap") && strings.Trim(value, "0") != "" || name == "NoNewPrivs" && value != "1" {
			return name + " is " + value
		}
	}
	for _, f := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		m, err := os.ReadFile(f)
		if fields := bytes.Fields(m); err != nil || len(fields) != 3 || string(fields[1]) == "0" || string(fields[2]) != "1" {
			return f + " is " + strings.TrimSpace(string(m))
		}
	}
	return ""
}

func lookCalls() string {
	if err := unix.Unshare(unix.CLONE_NEWUSER); !errors.Is(err, unix.EPERM) {
		return "a user namespace can be made"
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 0, 0, 0); errno != unix.ENOSYS {
		return "io_uring is there"
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); errno != unix.ENOSYS {
		return "clone3 is there"
	}
	return ""
}

func lookNetwork() string {
	devices, err := os.ReadFile("/proc/net/dev")
	if n := bytes.Count(devices, []byte(":")); err == nil && n != 1 {
		return fmt.Sprintf("there are %d network interfaces", n)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}, Port: 9}); err == nil {
		return "there is a route to the internet"
	}
	return ""
}

func lookStreams() string {
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
			return fmt.Sprintf("descriptor %d is no pipe", fd)
		}
	}
	return ""
}
