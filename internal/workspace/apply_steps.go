package workspace

import (
	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// stepKind is what one step of an apply does to one path.
type stepKind string

// The kinds of step. Each leaves behind what undoes it.
const (
	stepTake  stepKind = "take"  // move the old file into the work directory
	stepRmdir stepKind = "rmdir" // remove an empty directory
	stepSwap  stepKind = "swap"  // exchange the staged file and the old one
	stepPut   stepKind = "put"   // move what is staged to a free name
	stepMode  stepKind = "mode"  // set permission bits
)

// order is the order of the steps: room is made before it is taken.
var stepOrder = map[stepKind]int{stepTake: 0, stepRmdir: 0, stepSwap: 1, stepPut: 1, stepMode: 2}

// applyStep is one step, as the journal has it.
type applyStep struct {
	Kind   stepKind      `json:"kind"`
	Path   carrel.Text   `json:"path"`
	Mount  carrel.Text   `json:"mount,omitempty"`  // inside the tree, that the path lies on
	Work   string        `json:"work,omitempty"`   // path in that mount's work directory
	Staged uint64        `json:"staged,omitempty"` // inode of what was staged there
	Digest carrel.Digest `json:"digest,omitempty"` // of a staged regular file
	Mode   uint32        `json:"mode"`             // what it becomes
	Old    oldState      `json:"old,omitzero"`
	Inside []insideEntry `json:"inside,omitempty"` // below a staged directory

	file *carrel.FileChange
}

// oldState is what a step found, to recognise it when it has been displaced
// and to put it back.
type oldState struct {
	Ino   uint64        `json:"ino"`
	Mode  uint32        `json:"mode"` // with the type
	Size  int64         `json:"size"`
	Mtime int64         `json:"mtime"`
	UID   uint32        `json:"uid"`
	GID   uint32        `json:"gid"`
	Sum   carrel.Digest `json:"sum,omitempty"` // of content, or of a link's target
}

func oldStateOf(st *unix.Stat_t) oldState {
	return oldState{Ino: st.Ino, Mode: st.Mode, Size: st.Size, Mtime: st.Mtim.Nano(), UID: st.Uid, GID: st.Gid}
}

// same ignores ctime, which being moved alters, and the inode, which an overlay
// alters with it; content is compared by digest.
func (o oldState) same(st *unix.Stat_t) bool {
	return o.Mode == st.Mode && o.Size == st.Size && o.Mtime == st.Mtim.Nano()
}
