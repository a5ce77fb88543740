package native

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// start starts the program of a desk whose walls stand, or are built now. On
// error nothing is left.
func (t *Tier) start(ctx context.Context, s sandbox.Spec) (*Desk, error) {
	d, err := t.walls(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := d.setOff(ctx); err != nil {
		d.abort()
		return nil, asStartError(d.withDiagnosis(err))
	}
	go d.attend()
	return d, nil
}

// raise builds the walls of a desk. On error nothing is left.
func (t *Tier) raise(ctx context.Context, s sandbox.Spec) (*Desk, error) {
	if err := check(&s); err != nil {
		return nil, err
	}
	id, err := Who()
	if err != nil {
		return nil, asStartError(err)
	}
	image, err := t.image.open(t.options.InstallDir)
	if err != nil {
		return nil, refusal("opening PID 1's program: %w", err)
	}
	s.Mounts = present(s.Mounts)
	d, err := launch(t.seedFor(image, id, s.Mounts), id, &s)
	if err != nil {
		return nil, asStartError(err)
	}
	d.imageFrom = t.image.how
	if err := d.build(ctx); err != nil {
		d.abort()
		return nil, asStartError(d.withDiagnosis(err))
	}
	return d, nil
}

// launch tells a PID 1 what to build; it builds while the supervisor goes on.
func launch(from *seed, id Identity, s *sandbox.Spec) (_ *Desk, err error) {
	if from.err != nil {
		from.discard()
		return nil, from.err
	}
	d := newDesk(s, id)
	d.image, d.process, d.link, d.diagnosis = from.image, from.process, from.link, from.diagnosis
	defer func() {
		if err != nil {
			d.closeAll()
		}
	}()
	if d.claim, err = claim(s.RuntimeDir); err != nil {
		from.dropSpace()
		return nil, err
	}
	settled := make(chan error, 1)
	rest := s.Mounts[len(from.laid):]
	if id.Borrowed {
		d.trees = make(chan handed, 1)
		go func() {
			defer from.dropSpace()
			d.trees <- openHanded(from, rest, settled)
		}()
	}
	d.cutOff, err = settleLayers(s.Mounts)
	settled <- err
	if err != nil {
		return nil, err
	}
	var inside []int
	if s.Terminal == nil {
		if d.streams, err = openStreams(s, id); err != nil {
			return nil, err
		}
		defer d.streams.entered()
		for _, f := range d.streams.inside {
			inside = append(inside, int(f.Fd()))
		}
	}
	return d, sendPlan(d.link, desk.Build, planOf(s, rest, id), inside)
}

// sendPlan tells PID 1 what to build.
func sendPlan(link *desk.Link, kind desk.Kind, p *desk.Plan, files []int) error {
	plan, err := sealedPlan(p)
	if err != nil {
		return err
	}
	defer plan.Close()
	err = link.Send(desk.Message{Kind: kind, Files: append([]int{int(plan.Fd())}, files...)})
	return wrap("telling PID 1 what to build", unlessGone(err))
}

// unlessGone forgives that PID 1 is gone when it is told something: what it
// said last is still to be read, and says why.
func unlessGone(err error) error {
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return err
}

// sealedPlan hands the plan over in memory that nobody can change any more.
func sealedPlan(p *desk.Plan) (*os.File, error) {
	fd, err := unix.MemfdCreate("plan", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("handing over the plan: %w", err)
	}
	f := os.NewFile(uintptr(fd), "plan")
	if _, err := f.Write(p.Encode()); err != nil {
		f.Close()
		return nil, fmt.Errorf("handing over the plan: %w", err)
	}
	return f, seal(f)
}
