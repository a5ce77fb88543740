//go:build linux

// Command probe tries one thing a shell cannot try, and says how it went: the
// exit code is 0 if it worked and 1 if it was refused, with the reason on
// standard output. The tests run it inside a desk, and outside as the twin.
// It is trusted with nothing.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest/kernel"
)

// tries are what the probe can be asked for, by name.
var tries = map[string]func(args []string) error{
	"ptrace":   tryPtrace,
	"tcp":      tryTCP,
	"udp":      tryUDP,
	"listen":   tryListen,
	"abstract": tryAbstract,
	"resolve":  tryResolve,
	"alloc":    tryAlloc,
	"memfd":    tryMemfd,
	"foreign":  tryForeign,
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == kernel.Verb {
		os.Exit(kernel.Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == kernel.ContainerVerb {
		os.Exit(kernel.Container(os.Args[2:]))
	}
	if len(os.Args) < 2 || tries[os.Args[1]] == nil {
		var names []string
		for name := range tries {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, "usage: probe TRY [ARG…], where TRY is one of", strings.Join(names, ", "))
		os.Exit(2)
	}
	started := time.Now()
	if err := tries[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Printf("refused after %d ms: %v\n", time.Since(started).Milliseconds(), err)
		os.Exit(1)
	}
	fmt.Println("worked")
}

const patience = 5 * time.Second

// tryTCP connects to each address and, if told what to say, expects an answer.
func tryTCP(args []string) error {
	c, err := net.DialTimeout("tcp", args[0], patience)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if len(args) > 1 {
		if _, err := c.Write([]byte(args[1])); err != nil {
			return err
		}
	}
	b := make([]byte, 512)
	n, err := c.Read(b)
	if n == 0 {
		return fmt.Errorf("connected, then nothing: %w", err)
	}
	fmt.Printf("%s\n", b[:n])
	return nil
}

// tryUDP sends a datagram to an address and expects an answer.
func tryUDP(args []string) error {
	c, err := net.DialTimeout("udp", args[0], patience)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Write([]byte(args[1])); err != nil {
		return err
	}
	b := make([]byte, 512)
	n, err := c.Read(b)
	if err != nil {
		return err
	}
	fmt.Printf("%q\n", b[:n])
	return nil
}

// tryListen opens a server of the desk's own and talks to it.
func tryListen([]string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()
	return tryTCP([]string{l.Addr().String()})
}

func tryAbstract(args []string) error {
	c, err := net.Dial("unix", "@"+args[0])
	if err != nil {
		return err
	}
	return c.Close()
}

func tryResolve(args []string) error {
	addrs, err := net.LookupHost(args[0])
	if err != nil {
		return err
	}
	fmt.Println(addrs)
	return nil
}

// tryAlloc takes that many MiB and touches every page.
func tryAlloc(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var kept [][]byte
	for range n {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
	}
	if len(kept) != n {
		return errors.New("lost some")
	}
	return nil
}
