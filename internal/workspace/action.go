package workspace

import "github.com/carrel-dev/carrel"

// FileAction is the action that one file's alteration is: what Capture asks
// about, and what may be asked again before an apply.
func FileAction(run carrel.RunID, f carrel.FileChange) carrel.Action { return fileAction(run, f) }
