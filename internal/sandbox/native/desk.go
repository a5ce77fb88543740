package native

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// linger is how long PID 1 may live after it said that the program ended: it
// has nothing left to do, and one that stays is not what was started.
const linger = 5 * time.Second

// Desk is one started run.
type Desk struct {
	spec *sandbox.Spec
	id   Identity
	held
	facts
	building
	questions
	display
	ending
}

// held is what the desk holds in this process, until closeAll.
type held struct {
	image     *os.File // PID 1's program; the tier's
	process   *process
	link      *desk.Link
	claim     *os.File    // the lock of the run's directory
	trees     chan handed // of a desk started by root, until they are handed in
	streams   *streams
	diagnosis *diagnosis
	watch     *watch

	executions *executions // nil: nobody asked to hear of them
}

// facts are for Enforcement. They are set before the program starts.
type facts struct {
	imageFrom  string // where PID 1's program came from
	memoryNote string // why memory is watched instead of held, if it is
	cutOff     bool   // the last run with these layers did not end in order
	landlock   int    // version in force
	unasked    string // why nobody is asked about executions, if somebody should be
}

// building is used by the goroutine of start only.
type building struct {
	networked, ready bool
	heard            chan desk.Message
}

// questions are those for more sockets.
type questions struct {
	asking    sync.Mutex // guards closed, and makes one question at a time
	closed    bool
	listening chan desk.Message
}

// display is the desk's terminal, if it has one.
type display struct {
	master  *os.File
	stopped chan struct{}
	relayed chan struct{} // closed when Relay has returned
}

// ending is how the run goes towards its end.
type ending struct {
	life     context.Context
	end      context.CancelFunc // of life
	attended chan struct{}      // closed when everything is over

	mu     sync.Mutex // guards what follows
	cause  string
	status *syscall.WaitStatus
	fault  error
	grace  *time.Timer
}

func newDesk(s *sandbox.Spec, id Identity) *Desk {
	d := &Desk{spec: s, id: id}
	d.heard, d.listening = make(chan desk.Message), make(chan desk.Message, 1)
	d.stopped, d.attended = make(chan struct{}, 1), make(chan struct{})
	d.life, d.end = context.WithCancel(context.Background())
	return d
}
