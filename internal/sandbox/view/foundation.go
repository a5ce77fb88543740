package view

import (
	"maps"
	"slices"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Foundation is the part of a view that follows from the host alone: the
// system's programs and an /etc of the desk's own. It can be laid before
// anything is known of the run.
type Foundation struct {
	// Mounts are the first of every view that is built on the foundation.
	Mounts []sandbox.Mount

	set   map[string]string
	trees []string
	targs map[string]bool
}

// Lay computes the foundation of every desk on this host.
func Lay(h Host) *Foundation {
	b := newBuilder(h, Request{})
	b.trees = nil
	b.system()
	b.etc()
	return &Foundation{Mounts: b.mounts, set: b.set, trees: b.trees, targs: b.targs}
}

// buildOn makes the foundation the beginning of b's view.
func (b *builder) buildOn(f *Foundation) {
	b.mounts = append(b.mounts, f.Mounts...)
	b.trees = append(b.trees, slices.Clone(f.trees)...)
	b.targs = maps.Clone(f.targs)
	maps.Copy(b.set, f.set)
}
