package place

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// organisation is where administrators alone can put something. A path without
// a drive would be another one on each, and everybody may make directories at
// the root of one.
func organisation() string {
	programs, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0)
	if err != nil {
		programs = `C:\Program Files`
	}
	return filepath.Join(programs, "Carrel")
}
