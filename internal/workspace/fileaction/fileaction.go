// Package fileaction owns how the alteration of one file is put to the gate:
// the same action at a desk, before an apply, in a commit hook and in CI. It is
// trusted to show policies the path that would be altered, and no other.
package fileaction

import (
	"path"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/carrel-dev/carrel"
)

// Of is the action that one file's alteration is.
func Of(run carrel.RunID, f carrel.FileChange) carrel.Action {
	a := carrel.Action{Run: run, Operation: carrel.OpWrite, Path: Path(f.Path), RawPath: carrel.DeskWorkspace + "/" + f.Path, File: &f}
	if f.Change == carrel.Deleted {
		a.Operation = carrel.OpDelete
	}
	return a
}

// Path is the path as policies see it: below /workspace, valid UTF-8, in
// normal form C. Bytes that are no UTF-8 become U+FFFD, which is never part of
// what a rule names.
func Path(rel carrel.Text) string {
	return path.Join(carrel.DeskWorkspace, norm.NFC.String(strings.ToValidUTF8(string(rel), "\uFFFD")))
}
