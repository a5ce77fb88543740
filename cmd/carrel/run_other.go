//go:build !linux

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// inside reports whether this process is the first of a desk: never here.
func inside() bool { return false }

func (a *app) hostVerbs() []*cobra.Command {
	var out []*cobra.Command
	for _, name := range []string{"run", "review", "approve", "apply", "discard", "doctor"} {
		out = append(out, &cobra.Command{
			Use: name, Short: "Work with desks (Linux only)", Hidden: name != "run", DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return &exitStatus{exitCarrel, fmt.Errorf("desks are built with Linux namespaces, and this is %s: run carrel in a Linux virtual machine; reading and verifying a log work here", runtime.GOOS)}
			},
		})
	}
	return out
}
