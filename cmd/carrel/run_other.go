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
	return []*cobra.Command{{
		Use:   "run",
		Short: "Run an agent at a walled desk (Linux only)",
		RunE: func(*cobra.Command, []string) error {
			return &exitStatus{exitCarrel, fmt.Errorf("desks are built with Linux namespaces, and this is %s; run carrel in a Linux virtual machine. Reviewing, approving and verifying work here", runtime.GOOS)}
		},
	}}
}
