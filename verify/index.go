package verify

import "github.com/carrel-dev/carrel"

// RunKey returns the sixteen bytes by which the index knows a run; all zero
// for none.
func RunKey(run carrel.RunID) [16]byte { return carrel.IDBytes(string(run)) }
