package sandboxtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// probe is what this binary does inside a desk.
func probe(name string, args []string) int {
	switch name {
	case "descriptors":
		return probeDescriptors()
	case "ids":
		fmt.Println(unix.Getuid(), unix.Geteuid(), unix.Getgid(), unix.Getegid())
	case "truncate":
		for _, path := range args {
			fmt.Println(path+":", probeTruncate(path))
		}
	case "calls":
		probeCalls()
	case "reach":
		probeReach()
	case "memfd":
		return probeMemfd()
	case "status":
		b, _ := os.ReadFile("/proc/self/status")
		fmt.Print(string(b))
	case "abstract":
		probeAbstract(args[0])
	case "dial":
		for _, to := range args {
			fmt.Println(to, probeDial(to))
		}
	case "eat":
		return probeEat(func(n int) []byte { return make([]byte, n) })
	case "eat-shared":
		return probeEat(func(n int) []byte {
			b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
			if err != nil {
				fmt.Println(err)
			}
			return b
		})
	case "eat-detached":
		return probeEat(segment)
	case "eat-briefly":
		return probeEatBriefly()
	case "fork":
		return probeFork()
	case "sleep":
		time.Sleep(time.Minute)
	default:
		return 2
	}
	return 0
}

// say prints the name of an error number.
func say(err error) string {
	var e unix.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		if e == 0 {
			return "ok"
		}
		return unix.ErrnoName(e)
	}
	return err.Error()
}

// probeDescriptors lists what was open before Go opened anything.
func probeDescriptors() int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var open []string
	for _, n := range names {
		to, err := os.Readlink("/proc/self/fd/" + n.Name())
		if err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/proc/") {
			open = append(open, n.Name())
		}
	}
	slices.Sort(open)
	fmt.Println(strings.Join(open, " "))
	return 0
}

func probeTruncate(path string) string {
	out := []string{"truncate=" + say(unix.Truncate(path, 1))}
	fd, err := unix.Open(path, unix.O_RDWR, 0)
	out = append(out, "open="+say(err))
	t, terr := unix.Open(path, unix.O_WRONLY|unix.O_TRUNC, 0)
	out = append(out, "trunc="+say(terr))
	if err == nil {
		out = append(out, "ftruncate="+say(unix.Ftruncate(fd, 1)), "fallocate="+say(unix.Fallocate(fd, 0, 0, 4096)))
		unix.Close(fd)
		unix.Close(t)
	}
	return strings.Join(out, " ")
}

// probeReach tries to get at PID 1 in every way there is.
func probeReach() {
	pidfd, err := unix.PidfdOpen(1, 0)
	fmt.Println("pidfd_open", say(err))
	_, err = unix.PidfdGetfd(pidfd, 3, 0)
	fmt.Println("pidfd_getfd", say(err))
	fmt.Println("pidfd_send_signal", say(unix.PidfdSendSignal(pidfd, unix.SIGTERM, nil, 0)))
	fmt.Println("attach", say(unix.PtraceAttach(1)))
	fmt.Println("seize", say(unix.PtraceSeize(1)))
	buf := make([]byte, 8)
	_, err = unix.ProcessVMReadv(1, []unix.Iovec{{Base: &buf[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
	fmt.Println("process_vm_readv", say(err))
	tasks, _ := os.ReadDir("/proc/1/task")
	for _, t := range tasks {
		tid, _ := strconv.Atoi(t.Name())
		if err := unix.PtraceAttach(tid); err == nil {
			fmt.Println("attached to thread", tid)
		}
	}
	for _, f := range []string{"mem", "environ", "maps", "fd", "root"} {
		_, err := os.Open("/proc/1/" + f)
		fmt.Println(f, say(err))
	}
	for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP, unix.SIGTERM, unix.SIGHUP, unix.SIGSEGV,
		unix.SIGABRT, unix.SIGQUIT, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGTRAP, unix.SIGSYS, unix.SIGSTKFLT, unix.SIGPIPE, unix.SIGALRM, unix.SIGXCPU} {
		fmt.Println(unix.SignalName(sig), say(unix.Kill(1, sig)))
	}
}

// probeMemfd executes a program from memory.
func probeMemfd() int {
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		_, err = unix.Write(fd, b)
	}
	if err == nil {
		err = unix.Exec("/proc/self/fd/"+strconv.Itoa(fd), []string{"x", "probe", "status"}, nil)
	}
	fmt.Println(err)
	return 1
}

func probeAbstract(name string) {
	c, err := net.Dial("unix", "@"+name)
	fmt.Println("host", err != nil)
	if err == nil {
		c.Close()
	}
	l, err := net.Listen("unix", "@own"+name)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	c, err = net.Dial("unix", "@own"+name)
	fmt.Println("own", err == nil)
	if err == nil {
		c.Close()
	}
}

func probeDial(to string) string {
	network, addr, _ := strings.Cut(to, ":")
	c, err := net.DialTimeout(network, addr, 2*time.Second)
	if err == nil {
		_, err = c.Write([]byte("x"))
		c.Close()
	}
	return say(err)
}

// probeEat takes memory until it is stopped.
func probeEat(take func(int) []byte) int {
	var kept [][]byte
	for range 400 {
		b := take(8 << 20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Println("ate", len(kept))
	return 0
}

// segment makes a segment of System V, and lets go of it once it is full.
func segment(n int) []byte {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, n, unix.IPC_CREAT|0o600)
	if err != nil {
		fmt.Println(err)
		return nil
	}
	b, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		fmt.Println(err)
		return nil
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	if err := unix.SysvShmDetach(b); err != nil {
		fmt.Println(err)
	}
	return nil
}

// probeEatBriefly takes much at once and gives it back.
func probeEatBriefly() int {
	b, err := unix.Mmap(-1, 0, 600<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	_ = unix.Munmap(b)
	fmt.Println("ate and went")
	return 0
}

// probeFork starts processes until it is stopped.
func probeFork() int {
	started := 0
	for range 200 {
		p, err := os.StartProcess("/bin/sleep", []string{"sleep", "30"}, &os.ProcAttr{})
		if err != nil {
			fmt.Println("started", started, say(err))
			return 0
		}
		_ = p.Release()
		started++
	}
	fmt.Println("started", started)
	return 0
}
