//go:build linux

// Command bench measures Carrel beside its peers, in one go and interleaved,
// so that the ratios hold whatever else the machine is doing. It asserts
// nothing: it prints a table, and JSON if asked. It is trusted with nothing;
// it builds peers written in Go into bin/tools, and installs others only with
// --install.
//
//	go run ./bench [--install] [--n 21] [--only start,memory,work,net,http,log,policy] [--json FILE]
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/internal/policy"
)

// options are the flags.
type options struct {
	carrel  string
	cache   string
	n       int
	files   int
	only    string
	ways    string
	json    string
	install bool
}

func main() {
	if policy.Inside() {
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "work" {
		exit(work(os.Args[2], os.Args[3:]))
	}
	if len(os.Args) > 2 && os.Args[1] == "append" {
		exit(appendTo(os.Args[2:]))
	}
	if len(os.Args) == 2 && os.Args[1] == "timer" {
		exit(serveTimer(os.Stdin, os.Stdout))
	}
	var o options
	flag.StringVar(&o.carrel, "carrel", "bin/carrel", "the binary to measure")
	flag.StringVar(&o.cache, "cache", cacheDir(), "where installed peers and trees are kept")
	flag.IntVar(&o.n, "n", 21, "how often each short thing is measured")
	flag.IntVar(&o.files, "files", 50000, "how many files the big tree has")
	flag.StringVar(&o.only, "only", "start,memory,work,net,http,log,policy,attest", "parts to run")
	flag.StringVar(&o.ways, "ways", "", "of part http, only the ways whose names have one of these in them, and no memory")
	flag.StringVar(&o.json, "json", "", "also write the figures to this file")
	flag.BoolVar(&o.install, "install", false, "install missing peers (Debian and npm packages)")
	flag.Parse()
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "carrel-bench")
}

func run(o options) error {
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer b.close()
	parts := map[string]func() error{"start": b.start, "memory": b.memory, "work": b.work, "net": b.net, "http": b.http, "log": b.log, "policy": b.policy, "attest": b.attest}
	for _, part := range []string{"start", "memory", "work", "net", "http", "log", "policy", "attest"} {
		if !strings.Contains(","+o.only+",", ","+part+",") {
			continue
		}
		if err := parts[part](); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	if o.json == "" {
		return nil
	}
	out, err := json.MarshalIndent(b.tables, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(out, '\n'), 0o644)
}
