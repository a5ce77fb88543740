package workspace

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/needs"
)

// Layers as overlayfs leaves them, made by hand: every mark of this user's
// kind of mount is read as data.
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
		os.WriteFile(at("attr"), nil, 0o644), unix.Setxattr(at("attr"), markPrefix()+"whiteout", []byte("y"), 0),
		os.WriteFile(at("zero"), nil, 0o644), // an emptied file is no whiteout
		os.Mkdir(at("opaque"), 0o755), unix.Setxattr(at("opaque"), markPrefix()+"opaque", []byte("y"), 0), os.WriteFile(at("opaque/b"), []byte("new\n"), 0o644),
		os.Mkdir(at("merged"), 0o755), os.WriteFile(at("merged/b"), []byte("new\n"), 0o644),
		// An agent's own attribute arrives escaped and means nothing.
		os.Mkdir(at("escaped"), 0o755), unix.Setxattr(at("escaped"), markPrefix()+"overlay.opaque", []byte("y"), 0),
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
		if err := errors.Join(os.Mkdir(dir, 0o755), unix.Setxattr(dir, markPrefix()+"redirect", []byte(to), 0)); err != nil {
			t.Fatal(err)
		}
		c, err := seat.Capture(t.Context(), CaptureOptions{Decide: allowAll, Running: true})
		// Where a run goes on, a place that turns into a link while it is read
		// is withheld; anywhere else it stops the capture.
		withheld := err == nil && len(c.Files) == 0 && len(c.Withheld) == 1 && c.Withheld[0].Path == "d"
		if err == nil && !withheld {
			t.Errorf("redirect %s: captured\n%.300s\nwithheld %+v", to, describe(c.Files), c.Withheld)
		}
	}
}

// On a layer that a privileged mount wrote, user.overlay.… is the agent's own:
// it must neither hide a file, nor fake a deletion, nor bring in content that
// the agent could not read, such as that of a hidden file.
func TestAttackForgedMarks(t *testing.T) {
	forged := "user.overlay."
	if markPrefix() == forged {
		forged = "user.overlay.overlay." // what the kernel makes of it
	}
	s := newSite(t, StagingOverlay)
	s.write("secret", "canary\n")
	s.write("kept/a", "x\n")
	s.write("emptied", "x\n")
	seat := s.take(SeatOptions{})
	up := seat.Layers()[0].Upper
	set := func(rel, mark, value string) error {
		return unix.Setxattr(filepath.Join(up, rel), forged+mark, []byte(value), 0)
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(up, "leak"), []byte("mine\n"), 0o644), set("leak", "metacopy", "y"), set("leak", "redirect", "/secret"),
		os.WriteFile(filepath.Join(up, "emptied"), nil, 0o644), set("emptied", "whiteout", "y"),
		os.Mkdir(filepath.Join(up, "kept"), 0o755), set("kept", "opaque", "y"),
		os.Mkdir(filepath.Join(up, "away"), 0o755), set("away", "redirect", "/kept"),
	)
	if err != nil {
		t.Fatal(err)
	}
	c := captureWith(t, seat, CaptureOptions{Decide: allowAll, Running: true})
	expect(t, c.Files, "create dir away", "modify file emptied", "create file leak")
	for _, f := range c.Files {
		if f.Path == "leak" && f.Digest != carrel.DigestBytes([]byte("mine\n")) {
			t.Error("the content of another file was taken for leak's")
		}
	}
}

// Ordinary users make whiteouts, too.
func TestOverlayMarksAsUser(t *testing.T) { needs.AsUser(t, "^TestOverlayMarks$") }

func TestAttackForgedMarksAsUser(t *testing.T) { needs.AsUser(t, "^TestAttackForgedMarks$") }
