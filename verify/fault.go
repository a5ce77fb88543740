package verify

import "fmt"

// Fault is the first thing that is wrong with a log.
type Fault struct {
	File   string // name in the log's directory, or path
	Offset int64  // in bytes
	Record int64  // index in the log
	Reason string
}

// Error says what is wrong and where.
func (f *Fault) Error() string {
	return fmt.Sprintf("%s, offset %d, record %d: %s", f.File, f.Offset, f.Record, f.Reason)
}
