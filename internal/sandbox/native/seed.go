package native

import (
	"os"
	"reflect"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// seed is a desk before it is told what to be: PID 1 in its namespaces, which
// waits for its plan, and, for a desk started by root, the user namespace that
// most of what it adopts is shown through.
type seed struct {
	process   *process
	link      *desk.Link
	diagnosis *diagnosis
	image     *os.File
	id        Identity
	laid      []sandbox.Mount     // what it has been told to mount already
	space     func() (int, error) // of root's files; nil unless the identity is borrowed
	err       error
}

// Prepare starts PID 1 of the next desk, so that it is there when Start knows
// the plan: it holds nothing, sees nothing of anybody and runs no agent. Start
// uses it, and Discard ends one that no Start came for. An error is Start's to
// report.
func (t *Tier) Prepare() {
	sown := make(chan *seed, 1)
	go func() { sown <- t.prepare() }()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sown = append(t.sown, sown)
}

// Lay lets the desk that Prepare started mount what every desk of this host
// begins with. It holds if the first mounts of the specification that Start
// comes with are the same; else Start begins anew.
func (t *Tier) Lay(mounts []sandbox.Mount) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sown) == 0 {
		return
	}
	last := &t.sown[len(t.sown)-1]
	sown, laid := *last, make(chan *seed, 1)
	*last = laid
	go func() {
		s := <-sown
		s.lay(mounts)
		laid <- s
	}()
}

func (s *seed) lay(mounts []sandbox.Mount) {
	if s.err != nil {
		return
	}
	mounts = present(mounts)
	order := &desk.Plan{Mounts: mountsOf(mounts), Handed: s.id.Borrowed}
	var trees handed
	if s.id.Borrowed {
		trees = openHanded(s, mounts, nil)
		defer func() { desk.CloseAll(trees.fds) }()
	}
	s.err = trees.err
	if s.err == nil {
		s.err = sendPlan(s.link, desk.Lay, order, nil)
	}
	if s.err == nil {
		s.err = trees.send(s.link)
	}
	s.laid = mounts
}

// carries reports whether mounts begin with what has been laid.
func (s *seed) carries(mounts []sandbox.Mount) bool {
	return len(s.laid) <= len(mounts) && reflect.DeepEqual(s.laid, mounts[:len(s.laid):len(s.laid)])
}

func (t *Tier) prepare() *seed {
	id, err := Who()
	if err != nil {
		return &seed{err: err}
	}
	image, err := t.image.open(t.options.InstallDir)
	if err != nil {
		return &seed{err: refusal("opening PID 1's program: %w", err)}
	}
	return sow(image, id)
}

// Discard implements sandbox.Tier, for what Prepare started as well.
func (t *Tier) Discard() {
	t.mu.Lock()
	sown, up := t.sown, t.raised
	t.sown, t.raised = nil, map[carrel.RunID]*raised{}
	t.mu.Unlock()
	for _, s := range sown {
		(<-s).discard()
	}
	for _, r := range up {
		r.discard()
	}
}

func (s *seed) discard() {
	if s.link != nil {
		s.link.Close() // which ends PID 1
	}
	if s.process != nil {
		s.process.release()
	}
	s.dropSpace()
}

// dropSpace lets go of the user namespace of root's files, once nobody needs
// it any more.
func (s *seed) dropSpace() {
	if s.space != nil {
		if fd, err := s.space(); err == nil {
			unix.Close(fd)
		}
	}
}

// seedFor returns a prepared seed that fits the mounts, or a new one.
func (t *Tier) seedFor(image *os.File, id Identity, mounts []sandbox.Mount) *seed {
	t.mu.Lock()
	var sown chan *seed
	if len(t.sown) > 0 {
		sown, t.sown = t.sown[0], t.sown[1:]
	}
	t.mu.Unlock()
	if sown != nil {
		s := <-sown
		if s.carries(mounts) {
			return s
		}
		s.discard()
	}
	return sow(image, id)
}

// sow starts a PID 1.
func sow(image *os.File, id Identity) *seed {
	s := &seed{image: image, id: id, diagnosis: &diagnosis{}}
	s.err = s.start(image, id)
	if id.Borrowed {
		s.space = sync.OnceValues(holdSpace(image, id, owner{}))
		go func() { _, _ = s.space() }() // its error is kept for whoever needs it
	}
	return s
}

func (s *seed) start(image *os.File, id Identity) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	errs, diagnosis, err := pipe(true)
	if err != nil {
		return err
	}
	defer errs.Close()
	s.diagnosis.read(diagnosis)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	control := os.NewFile(uintptr(pair[1]), "control")
	defer control.Close()
	if s.link, err = desk.NewLink(pair[0]); err != nil {
		return err
	}
	if s.process, err = spawn(image, id, []*os.File{null, null, errs, control}); err != nil {
		return err
	}
	return wrap("starting PID 1 of the desk", s.link.Send(settle(id)))
}

// settle tells PID 1 that its users are mapped, and whom to become.
func settle(id Identity) desk.Message {
	m := desk.Message{Kind: desk.Settle}
	if id.Borrowed {
		m.Code = int32(id.Inside)
	}
	return m
}
