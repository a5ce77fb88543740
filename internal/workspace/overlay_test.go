package workspace

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Layers as overlayfs leaves them, made by hand: every mark is read as data,
// whether a privileged or an unprivileged mount wrote it.
func TestOverlayMarks(t *testing.T) {
	s := newSite(t, StagingOverlay)
	for _, name := range []string{"dev", "attr", "zero", "opaque/a", "opaque/b", "merged/a", "merged/b", "escaped/a"} {
		s.write(name, "x\n")
	}
	seat := s.take(SeatOptions{})
	up := seat.Layers()[0].Upper
	at := func(rel string) string { return filepath.Join(up, rel) }
	err := errors.Join(
		unix.Mknod(at("dev"), unix.S_IFCHR, 0),
		os.WriteFile(at("attr"), nil, 0o644), unix.Setxattr(at("attr"), "user.overlay.whiteout", []byte("y"), 0),
		os.WriteFile(at("zero"), nil, 0o644), // an emptied file is no whiteout
		os.Mkdir(at("opaque"), 0o755), unix.Setxattr(at("opaque"), "user.overlay.opaque", []byte("y"), 0), os.WriteFile(at("opaque/b"), []byte("new\n"), 0o644),
		os.Mkdir(at("merged"), 0o755), os.WriteFile(at("merged/b"), []byte("new\n"), 0o644),
		// An agent's own attribute arrives escaped and means nothing.
		os.Mkdir(at("escaped"), 0o755), unix.Setxattr(at("escaped"), "user.overlay.overlay.opaque", []byte("y"), 0),
		unix.Mknod(at("never-there"), unix.S_IFCHR, 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, captureWith(t, seat, CaptureOptions{Decide: allowAll, Running: true}).Files,
		"delete none attr",
		"delete none dev",
		"modify file merged/b",
		"delete none opaque/a",
		"modify file opaque/b",
		"modify file zero",
	)
}

// A redirect that leads out of the tree is not followed.
func TestAttackRedirectOutOfTheTree(t *testing.T) {
	for _, to := range []string{"/../../etc", "../../../etc", "/link"} {
		s := newSite(t, StagingOverlay)
		s.write("ok", "x")
		s.sh("ln -s /etc link")
		seat := s.take(SeatOptions{})
		dir := filepath.Join(seat.Layers()[0].Upper, "d")
		if err := errors.Join(os.Mkdir(dir, 0o755), unix.Setxattr(dir, "user.overlay.redirect", []byte(to), 0)); err != nil {
			t.Fatal(err)
		}
		c, err := seat.Capture(t.Context(), CaptureOptions{Decide: allowAll, Running: true})
		if err == nil {
			t.Errorf("redirect %s: captured\n%.300s", to, describe(c.Files))
		}
	}
}

// Ordinary users make whiteouts, too.
func TestOverlayMarksAsUser(t *testing.T) { asUser(t, "^TestOverlayMarks$") }
