package workspace

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// makeLayers decides how the trees are staged and makes empty layers, in the
// place of earlier ones if there were any.
func (s *Seat) makeLayers(opts SeatOptions) error {
	mounts, err := s.mountsInside(opts)
	if err != nil {
		return err
	}
	kind, around, why, err := s.chooseStaging(opts, mounts)
	if err != nil {
		return err
	}
	if why != "" {
		s.note("working on a copy: " + why)
	}
	pieces, root, err := s.cut(kind, around, mounts)
	if err != nil {
		return err
	}
	for i := range s.meta.Layers {
		if err := s.clear(&s.meta.Layers[i]); err != nil {
			return err
		}
	}
	s.meta.Staging, s.meta.Layers = kind, nil
	s.addLayer(Layer{Name: layerWorkspace, Lower: s.ws.root, Targets: []string{carrel.DeskWorkspace, s.ws.root}}, root)
	s.addPieces(pieces)
	if s.ws.linked() {
		common := s.ws.repo.Common
		s.addLayer(Layer{Name: layerGit, Lower: common, Targets: []string{common}}, pieceKind(kind))
	}
	if s.meta.Mounts, err = mountsBelow(s.ws.root); err != nil {
		return err
	}
	return s.emptyLayers()
}

// addLayer names a layer's private directories and adds it.
func (s *Seat) addLayer(l Layer, kind pieceKind) {
	if kind == pieceOverlay {
		l.Upper, l.Work = s.layerPath(&l, "upper"), s.layerPath(&l, "work")
	} else {
		l.Copy = s.layerPath(&l, "copy")
	}
	s.meta.Layers = append(s.meta.Layers, l)
}

func (s *Seat) layerPath(l *Layer, kind string) string {
	return filepath.Join(s.dir, l.Name+"."+kind)
}

// clear takes away what a layer holds.
func (s *Seat) clear(l *Layer) error {
	for _, kind := range []string{"upper", "work", "copy", "index"} {
		if err := s.trash(s.layerPath(l, kind)); err != nil {
			return err
		}
	}
	return nil
}

// makeLayer makes a layer empty, whatever it held before.
func (s *Seat) makeLayer(l *Layer) error {
	if err := s.clear(l); err != nil {
		return err
	}
	if l.Hidden {
		return s.ownDir(l.Copy, 0o755)
	}
	if l.Copy != "" {
		return nil // filled, with its root, by syncCopy
	}
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
	if l.Hidden {
		return nil
	}
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
// have been one. Mounts inside the workspace are no matter: they, or what lies
// around them, are pieces.
func (s *Seat) chooseStaging(opts SeatOptions, mounts []mountInside) (kind Staging, around bool, why string, err error) {
	if opts.Staging == StagingCopy {
		return StagingCopy, false, "", nil
	}
	if s.ws.linked() {
		if why, err = mountBelow(s.ws.repo.Common); err != nil {
			return "", false, "", err
		}
		why = cmp.Or(why, opts.doubt(s.ws.repo.Common, s.dir))
	}
	if why == "" {
		around, why, err = s.chooseAround(opts, mounts)
	}
	if why == "" && err == nil {
		why, err = s.foreign(opts)
	}
	switch {
	case err != nil:
		return "", false, "", err
	case why == "":
		return StagingOverlay, around, "", nil
	case opts.Staging == StagingOverlay:
		return "", false, "", fmt.Errorf("an overlay was asked for but cannot be had: %s; use --staging copy: %w", why, ErrRefused)
	}
	return StagingCopy, false, why, nil
}

// chooseAround reports whether overlays must lie around the mounts inside the
// workspace rather than over them, and why there can be none.
func (s *Seat) chooseAround(opts SeatOptions, mounts []mountInside) (around bool, why string, err error) {
	single := slices.ContainsFunc(mounts, func(m mountInside) bool { return !m.dir })
	if why = opts.doubt(s.ws.root, s.dir); why == "" && !single || len(mounts) == 0 {
		return false, why, nil
	}
	beside, err := s.beside(mounts)
	switch {
	case err != nil:
		return false, "", err
	case len(beside)+len(mounts) > maxPieces:
		return false, fmt.Sprintf("another file system is mounted inside the workspace, at %s, beside more than %d directories", filepath.Join(s.ws.root, mounts[0].rel), maxPieces), nil
	case len(beside) == 0:
		return true, "", nil
	}
	return true, opts.doubt(filepath.Join(s.ws.root, beside[0]), s.dir), nil
}

// doubt returns why an overlay of lower cannot be had, or "".
func (o SeatOptions) doubt(lower, upper string) string {
	if o.Probe == nil {
		return ""
	}
	if err := o.Probe(lower, upper); err != nil {
		return err.Error()
	}
	return ""
}

// mountBelow says that something is mounted below dir; "" if nothing is.
func mountBelow(dir string) (why string, err error) {
	at, err := mountsBelow(dir)
	if err != nil || len(at) == 0 {
		return "", err
	}
	return "another file system is mounted inside the repository's git directory, at " + at[0], nil
}

// mountsBelow returns the mount points below dir, sorted, each once.
func mountsBelow(dir string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("looking for mounts in the workspace: %w", err)
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	var out []string
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		if at := unescape.Replace(fields[4]); at != dir && within(at, dir) {
			out = append(out, at)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), lines.Err()
}
