// Package sandbox starts, watches and stops agents behind walls. It declares
// what a tier must offer and what a desk is made of; each tier is a
// sub-package (native first) and all run the one suite in sandboxtest.
//
// It is trusted with building walls that hold: it is given a grant for the
// agent's start and nothing else, holds no key and no log, and treats every
// word that comes from inside as hostile.
package sandbox

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// MountKind says how a Mount fills its target.
type MountKind string

// The kinds of mount.
const (
	MountBind    MountKind = "bind"    // Source, a host file or directory
	MountOverlay MountKind = "overlay" // Lower below, changes in Upper
	MountTmpfs   MountKind = "tmpfs"
	MountFile    MountKind = "file"    // a file with Content
	MountDir     MountKind = "dir"     // an empty directory on the desk's root
	MountSymlink MountKind = "symlink" // a link to Source
	MountSame    MountKind = "same"    // what an earlier mount shows at Source, a path of the desk
)

// Mount is one thing the desk sees. Targets are absolute and clean; mounts
// are carried out in order, and missing parents are made on the desk's own
// root, never on the host.
type Mount struct {
	Kind     MountKind `json:"kind"`
	Target   string    `json:"target"`
	Source   string    `json:"source,omitempty"`
	Lower    string    `json:"lower,omitempty"`
	Upper    string    `json:"upper,omitempty"` // on a file system that can be an upper layer
	Work     string    `json:"work,omitempty"`  // same file system as Upper
	Content  []byte    `json:"content,omitempty"`
	Mode     uint32    `json:"mode,omitempty"` // of file, dir and tmpfs; 0: 0444 for files, 0755 for directories
	Size     int64     `json:"size,omitempty"` // of a tmpfs, bytes; 0: the tier's default
	Writable bool      `json:"writable,omitempty"`
	NoExec   bool      `json:"noexec,omitempty"`
	// Adopt lets the desk's user see files of the invoking user as its own,
	// where the two differ (a desk started by root). Only for the workspace,
	// the home, caches and the user's own tools; never for system directories.
	Adopt bool `json:"adopt,omitempty"`
	// Optional mounts whose Source does not exist are left out.
	Optional bool `json:"optional,omitempty"`
	// Why is shown by --dry-run: one phrase.
	Why string `json:"why,omitempty"`
}

// Limits bound a desk. Zero means the tier's default; a limit that was asked
// for and cannot be enforced is an error unless BestEffort.
type Limits struct {
	Memory     int64         `json:"memory,omitempty"` // bytes
	Pids       int64         `json:"pids,omitempty"`
	Wall       time.Duration `json:"wall,omitempty"`
	Disk       int64         `json:"disk,omitempty"` // bytes the run may add below Spec.DiskPaths
	BestEffort bool          `json:"best_effort,omitempty"`
}

// Spec is everything a tier needs to build one desk.
type Spec struct {
	Run     carrel.RunID `json:"run"`
	Mounts  []Mount      `json:"mounts"`
	Program string       `json:"program"` // absolute path inside
	Args    []string     `json:"args"`    // with argv[0]
	Env     []string     `json:"env"`
	Dir     string       `json:"dir"`            // inside
	Host    string       `json:"host,omitempty"` // host name inside; "" means "carrel"
	Limits  Limits       `json:"limits"`
	// DiskPaths are the host directories the run fills (uppers, home): what
	// Limits.Disk and the guard of free space measure.
	DiskPaths []string `json:"disk_paths,omitempty"`
	// Grace is the time between SIGTERM and the end of everything; 0: 10 s.
	Grace time.Duration `json:"grace,omitempty"`
	// RuntimeDir is a private host directory of this run, mode 0700.
	RuntimeDir string `json:"-"`

	// Stdin, Stdout and Stderr are the supervisor's streams. They are relayed:
	// none of them enters the desk. If Terminal is set the desk gets a pty of
	// its own, relayed to Terminal, and the three are not used.
	Stdin          *os.File `json:"-"`
	Stdout, Stderr *os.File `json:"-"`
	Terminal       *os.File `json:"-"`

	// Relay connects the desk's pty with Terminal; it is needed when Terminal
	// is set. It is called once, when the walls are built, and returns when
	// Master has nothing more to give or ctx, the life of the desk, ended;
	// Wait waits for it.
	Relay func(ctx context.Context, p Pty) error `json:"-"`

	// Executed, if set, is asked before any program is executed inside, the
	// agent itself first, by several goroutines at once. nil lets the program
	// run; an error refuses it: its parent gets EACCES, and its standard error
	// the text. ctx ends with the desk.
	Executed func(ctx context.Context, e Execution) error `json:"-"`
	// MustAsk refuses to start where Executed cannot be asked, as in a
	// container whose engine listens for system calls itself. Without it the
	// desk is started all the same, and its Enforcement says so.
	MustAsk bool `json:"-"`

	// Attach receives the desk's network sockets before the program starts,
	// while the walls are built; the program starts only after it returned nil.
	Attach func(ctx context.Context, s Sockets) error `json:"-"`
}

// Execution is a program that is about to be executed inside. All of it comes
// from inside and is hostile.
type Execution struct {
	PID, Parent int    // numbers inside; 0 where they cannot be told
	Path        string // inside, links resolved
	RawPath     string // as it was asked for
	Argv        []string
	Cwd         string
	// Digest is of the program; "" where it cannot be read, and while a large
	// one is read for the first time: Hashed, if not nil, waits for that.
	Digest carrel.Digest
	Hashed func() carrel.Digest
	Unread error // why some of this is missing; nil: nothing is
}

// Sockets were created inside the desk's network namespace and handed out.
// Whoever receives them owns and closes them.
type Sockets struct {
	TCP       *os.File // listening stream socket on 127.0.0.1, a port of the desk's choice: captured connections
	DNS       *os.File // datagram socket on 127.0.0.1:53 (or where redirects lead)
	DNSTCP    *os.File // listening stream socket beside it
	Route     *os.File // NETLINK_ROUTE of the desk's namespace
	Netfilter *os.File // NETLINK_NETFILTER of the desk's namespace; nil where it cannot be had
	// Listen opens a further listening stream socket inside, on an address and
	// port of the desk's namespace: the fallback without netfilter, and the
	// services under .desk. It works until the program starts.
	Listen func(addr string) (*os.File, error)
	// Dial opens an unconnected stream socket of a family (AF_INET, AF_INET6)
	// inside, until the program starts. Whoever holds it can connect it to
	// the desk's own servers, without entering the desk.
	Dial func(family int) (*os.File, error)
}

// Pty is the desk's terminal, as seen from outside.
type Pty struct {
	// Master is the tier's: it closes it after Relay has returned. Reading it
	// fails with EIO once everything inside is gone. It has the window size of
	// Spec.Terminal when the program starts.
	Master *os.File
	// Stopped says that the program was stopped, as by Ctrl-Z; a stop that
	// nobody heard is dropped when the next one comes.
	Stopped <-chan struct{}
	// Continue puts the program in the foreground again and continues it.
	Continue func() error
}

// Exit is how a run ended.
type Exit struct {
	Code   int            // of the program; 128+n if ended by signal n
	Signal syscall.Signal // 0 unless ended by a signal
	// Cause says why the walls ended the run, if they did: "wall", "memory",
	// "disk", "supervisor"; "" when the program ended by itself.
	Cause string
	// Peak memory of everything inside in bytes, 0 where it is not known.
	PeakMemory int64
}

// Desk is a started run. Its methods are safe for concurrent use.
type Desk interface {
	// Signal passes a signal on to the program's process group.
	Signal(sig syscall.Signal) error
	// Kill ends everything inside at once.
	Kill() error
	// Wait returns when everything inside is gone. It may be called once.
	Wait() (Exit, error)
	// Enforcement is what is in force for this desk, as probed or observed.
	Enforcement() []carrel.Enforcement
}

// Tier builds desks.
type Tier interface {
	// Name is the tier's name, as in policies and records.
	Name() string
	// Probe tries each control on this machine and says what it found.
	Probe(ctx context.Context) []carrel.Enforcement
	// Raise may build the walls of the desk that Start will be asked for while
	// its start is being decided. Nothing of the agent runs until then, and its
	// standard input is not read. Start uses them if it comes with the same
	// Spec; an error is Start's to report.
	Raise(ctx context.Context, s Spec)
	// Discard takes down what no Start came for, and returns when it is gone.
	Discard()
	// Start builds the walls and starts the program. The grant must cover a,
	// the exec action. An error means that nothing was left behind; a
	// *StartError says which exit code it deserves.
	Start(ctx context.Context, g gate.Grant, a carrel.Action, s Spec) (Desk, error)
}

// StartError is a run that did not start.
type StartError struct {
	Code int    // 125 Carrel's own failure, 126 not executable, 127 not found
	Fix  string // what the user can do, one sentence or command; may be empty
	Err  error
}

// Error implements error.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }
