package workspace

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// makeLayers decides how the trees are staged and makes empty layers, in the
// place of earlier ones if there were any.
func (s *Seat) makeLayers(opts SeatOptions) error {
	kind, why, err := s.chooseStaging(opts)
	if err != nil {
		return err
	}
	if why != "" {
		s.note("working on a copy: " + why)
	}
	s.meta.Staging = kind
	s.meta.Layers = []Layer{{Name: layerWorkspace, Lower: s.ws.root, Targets: []string{carrel.DeskWorkspace, s.ws.root}}}
	if s.ws.linked() {
		common := s.ws.repo.Common
		s.meta.Layers = append(s.meta.Layers, Layer{Name: layerGit, Lower: common, Targets: []string{common}})
	}
	for i := range s.meta.Layers {
		if err := s.makeLayer(&s.meta.Layers[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Seat) makeLayer(l *Layer) error {
	at := func(kind string) string { return filepath.Join(s.dir, l.Name+"."+kind) }
	for _, kind := range []string{"upper", "work", "copy", "index"} {
		if err := s.trash(at(kind)); err != nil {
			return err
		}
	}
	if s.meta.Staging == StagingCopy {
		l.Copy = at("copy")
		return nil // filled, with its root, by syncCopy
	}
	l.Upper, l.Work = at("upper"), at("work")
	var st unix.Stat_t
	if err := unix.Stat(l.Lower, &st); err != nil {
		return fmt.Errorf("looking at %s: %w", l.Lower, err)
	}
	// The root of an overlay shows the upper's mode.
	if err := s.ownDir(l.Upper, st.Mode&0o7777); err != nil {
		return err
	}
	return s.ownDir(l.Work, 0o700)
}

// fill brings a layer up to date before a run.
func (s *Seat) fill(ctx context.Context, l *Layer, opts SeatOptions) error {
	if l.Copy != "" {
		if err := s.syncCopy(ctx, l, opts); err != nil {
			return fmt.Errorf("copying %s: %w", l.Lower, err)
		}
	}
	if err := s.sanitize(l); err != nil {
		return fmt.Errorf("hiding credentials of %s from the agent: %w", l.Lower, err)
	}
	return nil
}

// chooseStaging returns the kind, and why it is not an overlay if it could
// have been one.
func (s *Seat) chooseStaging(opts SeatOptions) (kind Staging, why string, err error) {
	if opts.Staging == StagingCopy {
		return StagingCopy, "", nil
	}
	lowers := []string{s.ws.root}
	if s.ws.linked() {
		lowers = append(lowers, s.ws.repo.Common)
	}
	for _, lower := range lowers {
		if why, err = overlayDoubt(lower, s.dir, opts.Probe); err != nil {
			return "", "", err
		}
		if why == "" {
			continue
		}
		if opts.Staging == StagingOverlay {
			return "", "", fmt.Errorf("an overlay was asked for but cannot be had: %s; use --staging copy: %w", why, ErrRefused)
		}
		return StagingCopy, why, nil
	}
	return StagingOverlay, "", nil
}

// overlayDoubt returns why an overlay of lower cannot be had, or "".
func overlayDoubt(lower, upper string, probe func(lower, upper string) error) (string, error) {
	if sub, err := mountBelow(lower); err != nil {
		return "", err
	} else if sub != "" {
		return fmt.Sprintf("another file system is mounted inside the workspace, at %s", sub), nil
	}
	if probe == nil {
		return "", nil
	}
	if err := probe(lower, upper); err != nil {
		return err.Error(), nil
	}
	return "", nil
}

// mountBelow returns a mount point below dir, or "".
func mountBelow(dir string) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("looking for mounts in the workspace: %w", err)
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		if at := unescape.Replace(fields[4]); at != dir && within(at, dir) {
			return at, nil
		}
	}
	return "", lines.Err()
}
