//go:build !unix

package engine

import "io/fs"

// checkPrivate has nothing to check where directories carry no mode: the
// user's profile directory is private by its access control list.
func checkPrivate(string, fs.FileInfo) error { return nil }
