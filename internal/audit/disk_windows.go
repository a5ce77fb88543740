package audit

import "io/fs"

const openFlags = 0

// Files below the user's profile are private by their inherited access list.
func checkOwner(fs.FileInfo) error    { return nil }
func checkDirOwner(fs.FileInfo) error { return nil }

// A directory cannot be flushed there; renames are journalled.
func (realDisk) syncDir(string) error { return nil }
