package workspace

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// A workspace in which other file systems are mounted is staged piece by
// piece, since an overlay shows one mount and no more. Whoever may mount over
// mounts (root) has an overlay of the workspace and one of each mount in it.
// For everybody else the kernel refuses an overlay of a directory with mounts
// below it, lest it show what they hide: then each directory beside the way to
// a mount is a piece, too, and what lies on the way itself, a few files, is
// copied.

// pieceKind says how a piece is kept apart from the tree.
type pieceKind string

const (
	pieceOverlay pieceKind = "overlay"
	pieceCopy    pieceKind = "copy"
	pieceHidden  pieceKind = "hidden"
)

// cut says which paths are pieces of their own, beside the layer of the root,
// and how the root itself is staged then.
func (s *Seat) cut(kind Staging, around bool, mounts []mountInside) (pieces map[string]pieceKind, root pieceKind, err error) {
	pieces, root = map[string]pieceKind{}, pieceCopy
	if kind == StagingOverlay && !around {
		root = pieceOverlay
	}
	for _, m := range mounts {
		switch {
		case m.hidden != "":
			s.note(fmt.Sprintf("%s is not shown to the agent: %s", filepath.Join(s.ws.root, m.rel), m.hidden))
			pieces[m.rel] = pieceHidden
		case root == pieceOverlay && m.copy:
			pieces[m.rel] = pieceCopy
		case root == pieceOverlay:
			pieces[m.rel] = pieceOverlay
		}
	}
	if !around {
		return pieces, root, nil
	}
	beside, err := s.beside(mounts)
	for _, rel := range beside {
		pieces[rel] = pieceOverlay
	}
	s.note(fmt.Sprintf("another file system is mounted inside the workspace, at %s: the directories beside it cannot be renamed or removed by the agent (--staging copy has this not)", filepath.Join(s.ws.root, mounts[0].rel)))
	return pieces, root, err
}

// beside returns every directory beside the way to a mount, and the mounts
// themselves where nothing is mounted below them and an overlay can be.
func (s *Seat) beside(mounts []mountInside) ([]string, error) {
	way, other := map[string]bool{}, map[string]bool{}
	for _, m := range mounts {
		for dir := path.Dir(m.rel); ; dir = path.Dir(dir) {
			way[dir] = true
			if dir == "." {
				break
			}
		}
		other[m.rel] = m.copy || !m.dir || m.hidden != ""
	}
	var out []string
	for _, dir := range slices.Sorted(maps.Keys(way)) {
		entries, err := os.ReadDir(filepath.Join(s.ws.root, dir))
		if err != nil {
			return nil, fmt.Errorf("looking for mounts in the workspace: %w", err)
		}
		for _, e := range entries {
			if rel := path.Join(dir, e.Name()); e.IsDir() && !way[rel] && !other[rel] {
				out = append(out, rel)
			}
		}
	}
	return out, nil
}

// addPieces adds the layers of the pieces, parents first.
func (s *Seat) addPieces(pieces map[string]pieceKind) {
	for i, rel := range slices.Sorted(maps.Keys(pieces)) {
		l := Layer{
			Name: fmt.Sprintf("%s-%d", layerWorkspace, i+1), Rel: rel, Lower: filepath.Join(s.ws.root, rel), Hidden: pieces[rel] == pieceHidden,
			Targets: []string{path.Join(carrel.DeskWorkspace, rel), filepath.Join(s.ws.root, rel)},
		}
		s.addLayer(l, pieces[rel])
	}
}

// workspaceLayers are the layers that make up the workspace, the one of its
// root first.
func (s *Seat) workspaceLayers() []*Layer {
	var out []*Layer
	for i := range s.meta.Layers {
		if l := &s.meta.Layers[i]; l.Name != layerGit {
			out = append(out, l)
		}
	}
	return out
}

// layerOf returns the layer that shows a path of the workspace.
func (s *Seat) layerOf(rel string) *Layer {
	var found *Layer
	for _, l := range s.workspaceLayers() {
		if l.Rel == "" || within(rel, l.Rel) {
			found = l // parents come first: the last one lies on top
		}
	}
	return found
}

// holes are the paths of the workspace that pieces cover.
func (s *Seat) holes() map[string]bool {
	out := map[string]bool{}
	for _, l := range s.workspaceLayers() {
		if l.Rel != "" {
			out[l.Rel] = true
		}
	}
	return out
}

// root is the layer's place in the workspace, as walks name it.
func (l *Layer) root() string {
	if l.Rel == "" {
		return "."
	}
	return l.Rel
}

// inside is a path of the workspace relative to the layer's own root.
func (l *Layer) inside(rel string) string {
	if l.Rel == "" {
		return rel
	}
	if rel == l.Rel {
		return "."
	}
	return strings.TrimPrefix(rel, l.Rel+"/")
}

// makePoints makes, in layers that are copies, the directories that pieces are
// mounted on. No desk is at work, and what is made lies under a mount later.
func (s *Seat) makePoints() error {
	for _, l := range s.workspaceLayers() {
		if l.Rel == "" {
			continue
		}
		below := s.layerOf(path.Dir(l.Rel))
		if below.Copy == "" {
			continue // the mount point is in the tree
		}
		if err := below.makePoint(l.Rel); err != nil {
			return fmt.Errorf("making a place for %s: %w", l.Lower, err)
		}
	}
	return nil
}

func (l *Layer) makePoint(rel string) error {
	root, err := openRoot(l.Copy)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	in := l.inside(rel)
	parent, err := openBeneath(root, path.Dir(in), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	if err := unix.Mkdirat(parent, path.Base(in), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// standIn gives pieces whose directory the user took away an empty one to lie
// over: what the agent made there is work still.
func (s *Seat) standIn() error {
	none := filepath.Join(s.dir, "none")
	for _, l := range s.workspaceLayers() {
		if l.Rel == "" || l.Hidden {
			continue
		}
		l.Lower = filepath.Join(s.ws.root, l.Rel)
		var st unix.Stat_t
		if err := unix.Lstat(l.Lower, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			continue
		}
		if err := s.ownDir(none, 0o755); err != nil {
			return err
		}
		l.Lower = none
	}
	return nil
}

// top emits the directory that a piece lies on, if the agent changed its mode.
func (w *walk) top(l *Layer, v view) error {
	after, before := side{dir: v.up, name: "."}, side{dir: v.before, name: "."}
	if err := errors.Join(unix.Fstat(v.up.fd, &after.st), unix.Fstat(v.before.fd, &before.st)); err != nil {
		return fmt.Errorf("looking at %s: %w", l.Lower, err)
	}
	was := before.permissions()
	if known, ok := w.index[l.Rel]; ok {
		was = known.Mode & 0o7777
	}
	if after.permissions() == was {
		return nil
	}
	return w.put(&item{rel: l.Rel, after: after, before: before, change: carrel.ModeChanged})
}
