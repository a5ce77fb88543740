package sandboxtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox/attack"
)

// probe is what this binary does inside a desk.
func probe(name string, args []string) int {
	switch name {
	case "ids":
		fmt.Println(unix.Getuid(), unix.Geteuid(), unix.Getgid(), unix.Getegid())
	case "attack":
		return attack.Main(os.Args[0], attackVia, args)
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
	case "eat-headless":
		return probeEatHeadless()
	case "eat-aside":
		return probeEatAside()
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

func init() {
	if slices.Contains(os.Args, "eat-headless") || slices.Contains(os.Args, "eat-aside") {
		runtime.LockOSThread() // main keeps the process's first thread
	}
}

// probeEatHeadless takes memory in a process whose first thread has ended.
func probeEatHeadless() int {
	if unix.Gettid() != unix.Getpid() {
		fmt.Println("this is not the first thread")
		return 1
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		os.Exit(probeEat(func(n int) []byte { return make([]byte, n) }))
	}()
	_, _, errno := unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	fmt.Println(errno)
	return 1
}

// probeEatAside fills anonymous files that only one thread has open, in a table
// of its own.
func probeEatAside() int {
	done := make(chan int)
	time.Sleep(time.Millisecond) // the runtime opens what it waits with, for all threads
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			fmt.Println(err)
		}
		done <- probeEat(func(n int) []byte {
			fd, err := unix.MemfdCreate("aside", 0)
			if err == nil {
				_, err = unix.Write(fd, make([]byte, n))
			}
			if err != nil {
				fmt.Println(err)
			}
			return nil
		})
	}()
	return <-done
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
