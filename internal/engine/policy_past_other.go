//go:build !linux

package engine

import "github.com/carrel-dev/carrel"

// pastFiles has nothing: desks, and so changes, are on Linux.
func (e *Records) pastFiles(carrel.Record) []pastAction { return nil }
