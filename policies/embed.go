// Package policies holds the default Rego bundle: the floor that no other
// policy can lift, and sensible answers above it. One file per family of
// operations, each with its own package and entry point, so that a run
// prepares only what it asks. It is trusted completely: the floor is written
// here and nowhere else.
package policies

import "embed"

// Bundle holds the sources, without their tests, and the names that make paths
// and commands known (classes.txt).
//
//go:embed classes.txt files.rego read.rego exec.rego network.rego publish.rego lease.rego operator.rego
var Bundle embed.FS

// Start is a policy to start from, with its tests.
//
//go:embed start
var Start embed.FS
