//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carrel-dev/carrel/internal/witness/witnesstest"
)

// witnesses is the scripts' command for witnesses that others wrote. They are
// kept in the environment: KEY_NAME and URL_NAME.
//
//	witness start NAME              and stop NAME
//	witness know NAME               lets it cosign this log
//	witness configure MISSING NAME… writes the user's configuration
//	witness policy FILE QUORUM NAME… writes a policy for verify
func witnesses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: witness VERB NAME...")
	}
	state := filepath.Join(ts.Getenv("XDG_STATE_HOME"), "carrel")
	switch verb, name := args[0], args[1]; verb {
	case "start":
		startWitness(ts, name)
	case "stop":
		running[ts.Getenv("KEY_"+name)].Stop()
	case "know":
		key := strings.TrimSpace(ts.ReadFile(filepath.Join(state, "keys", "log.vkey")))
		ts.Check(running[ts.Getenv("KEY_"+name)].Know(key))
	case "configure":
		text := "witnesses:\n  missing: " + name + "\n  list:\n"
		for _, w := range args[2:] {
			text += fmt.Sprintf("    - {key: %q, url: %q}\n", ts.Getenv("KEY_"+w), ts.Getenv("URL_"+w))
		}
		dir := filepath.Join(ts.Getenv("XDG_CONFIG_HOME"), "carrel")
		ts.Check(os.MkdirAll(dir, 0o700))
		ts.Check(os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600))
	case "policy":
		text := ""
		for _, w := range args[3:] {
			text += "witness " + w + " " + ts.Getenv("KEY_"+w) + "\n"
		}
		text += "group everybody " + args[2] + " " + strings.Join(args[3:], " ") + "\nquorum everybody\n"
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	default:
		ts.Fatalf("witness %s is not known", verb)
	}
}

// running are the witnesses of the one script that has any, by key.
var running = map[string]*witnesstest.Witness{}

func startWitness(ts *testscript.TestScript, name string) {
	program, err := witnesstest.Program()
	ts.Check(err)
	dir, err := os.MkdirTemp("", "carrel-w") // a socket's path is short
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	w, err := witnesstest.Start(program, dir, "witness.example/"+name)
	ts.Check(err)
	ts.Defer(w.Stop)
	running[w.Key] = w
	ts.Setenv("KEY_"+name, w.Key)
	ts.Setenv("URL_"+name, w.URL)
}
