package native

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// start builds a desk and starts its program. On error nothing is left.
func (t *Tier) start(ctx context.Context, s sandbox.Spec) (*Desk, error) {
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
	d, err := launch(image, id, &s)
	if err != nil {
		return nil, asStartError(err)
	}
	d.imageFrom = t.image.how
	if err := d.begin(ctx); err != nil {
		d.abort()
		return nil, asStartError(d.withDiagnosis(err))
	}
	go d.attend()
	return d, nil
}

// launch starts PID 1 with its plan; it builds while the supervisor goes on.
func launch(image *os.File, id Identity, s *sandbox.Spec) (_ *Desk, err error) {
	d := newDesk(s, id)
	var inside []*os.File // closed here once PID 1 has them
	defer func() {
		for _, f := range inside {
			f.Close()
		}
		if err != nil {
			d.closeAll()
		}
	}()
	if d.claim, err = claim(s.RuntimeDir); err != nil {
		return nil, err
	}
	if d.cutOff, err = settleLayers(s.Mounts); err != nil {
		return nil, err
	}
	if id.Borrowed {
		d.openHanded(image)
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	inside = append(inside, null)
	errs, diagnosis, err := pipe(true)
	if err != nil {
		return nil, err
	}
	inside = append(inside, errs)
	d.diagnosis.read(diagnosis)
	control, err := d.openLink()
	if err != nil {
		return nil, err
	}
	inside = append(inside, control)
	plan, err := sealedPlan(planOf(s, id))
	if err != nil {
		return nil, err
	}
	inside = append(inside, plan)
	files := []*os.File{null, null, errs, control, plan}
	if s.Terminal == nil {
		if d.streams, err = openStreams(s, id); err != nil {
			return nil, err
		}
		files = append(files, d.streams.inside...)
	}
	d.process, err = spawn(image, id, files)
	if d.streams != nil {
		d.streams.entered()
	}
	return d, err
}

func (d *Desk) openLink() (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d.link, err = desk.NewLink(pair[0])
	return os.NewFile(uintptr(pair[1]), "control"), err
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
