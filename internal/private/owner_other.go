//go:build !unix

package private

import (
	"errors"
	"io/fs"
	"os"
)

func openFile(path string) (*os.File, error) { return os.Open(path) }

// ownerOf fails: where files have no owner that can be checked, nothing that
// was stored is believed.
func ownerOf(fs.FileInfo) (uid int, links uint64, err error) {
	return -1, 0, errors.New("cannot be checked for its owner on this system")
}

// lock has nobody to wait for where no run can be.
func lock(*os.File) error { return nil }
