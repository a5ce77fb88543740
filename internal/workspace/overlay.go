package workspace

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// overlayMarks is what overlayfs wrote about an entry of an upper layer.
type overlayMarks struct {
	whiteout bool
	opaque   bool
	redirect string // where the lower directory really is; "" if in place
	metacopy bool   // only metadata was copied up, the content is below
	foreign  []string
}

// markPrefix begins the attributes that overlayfs writes into the layers of
// this user's desks. Programs inside cannot set these: trusted. needs
// privilege, and on a mount without privilege what they set as user. arrives
// escaped, as "user.overlay.overlay.…". The respective other kind means
// nothing: on a privileged mount user. is the agent's to write, and could
// point a file at whatever the tree holds.
func markPrefix() string {
	if os.Geteuid() == 0 {
		return "trusted.overlay."
	}
	return "user.overlay."
}

func readMarks(dir int, name string, st *unix.Stat_t) (overlayMarks, error) {
	var m overlayMarks
	if st.Mode&unix.S_IFMT == unix.S_IFCHR {
		m.whiteout = st.Rdev == 0
		return m, nil
	}
	names, err := xattrs(dir, name)
	if err != nil {
		return m, err
	}
	for _, full := range names {
		attr, ours := strings.CutPrefix(full, markPrefix())
		if !ours || strings.HasPrefix(attr, "overlay.") {
			m.foreign = append(m.foreign, full)
			continue
		}
		if err := m.read(dir, name, full, attr, st); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *overlayMarks) read(dir int, name, full, attr string, st *unix.Stat_t) (err error) {
	var value string
	switch attr {
	case "opaque":
		value, err = xattr(dir, name, full)
		m.opaque = value == "y"
	case "redirect":
		m.redirect, err = xattr(dir, name, full)
	case "metacopy":
		m.metacopy = true
	case "whiteout":
		m.whiteout = st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == 0
	}
	return err
}

// redirected returns where below the lower root an entry's lower part lies,
// for the directory rel that holds it.
func (m overlayMarks) redirected(rel string) string {
	if strings.HasPrefix(m.redirect, "/") {
		return path.Join(".", m.redirect)
	}
	return path.Join(rel, m.redirect)
}
