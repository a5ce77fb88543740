package workspace

import (
	"context"

	"github.com/carrel-dev/carrel"
)

// CaptureOptions say who asks for a change, and who decides its files.
type CaptureOptions struct {
	// Decide answers for one file: a write or delete below /workspace. It must
	// be safe for concurrent use. Nil denies everything.
	Decide func(ctx context.Context, a carrel.Action) carrel.Decision
	Run    carrel.RunID
	// Running says that the agent still works.
	Running bool
	Limits  Limits
	// Ignored reports which of the paths git ignores; it may be nil. It only
	// adds a label.
	Ignored func(ctx context.Context, paths []carrel.Text) (map[carrel.Text]bool, error)
}

// Limits bound a capture. Zero means the default.
type Limits struct {
	Files     int   // paths of a change; more refuse the capture
	FileBytes int64 // apparent size of one file; larger ones are withheld
	Bytes     int64 // content in all; more refuse the capture
	Depth     int   // directories below each other; what is deeper is withheld
	PathBytes int   // length of a path; what is longer is withheld
}

// CopyLimits bound copy staging. Zero means the default.
type CopyLimits struct {
	Files int64
	Bytes int64
}

// Capture freezes what the desk would alter in the workspace: contents go to
// the content store first, then the manifest, then the change is listed. A
// change without files is returned but not listed. A change that does the
// same as the desk's pending one keeps its id.
func (s *Seat) Capture(ctx context.Context, opts CaptureOptions) (*carrel.Change, error) {
	panic("not yet")
}
