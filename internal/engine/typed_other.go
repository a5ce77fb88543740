//go:build !linux

package engine

import "os"

// discardTyped leaves an unfinished line: whole lines are thrown away by who
// reads them.
func discardTyped(*os.File) {}
