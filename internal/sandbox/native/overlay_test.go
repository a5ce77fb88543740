package native

import (
	"os"
	"strings"
	"testing"
)

func TestOverlayIsTriedForReal(t *testing.T) {
	dir := t.TempDir()
	if err := OverlayWorks(dir, dir); err != nil {
		t.Errorf("an ordinary directory: %v", err)
	}
	// The kernel refuses a tree that is a view of the machine and, to all but
	// root, one with mounts in it.
	refused := []string{"/proc"}
	if os.Geteuid() != 0 {
		refused = append(refused, "/")
	} else if err := OverlayWorks("/", dir); err != nil {
		t.Errorf("root, over mounts: %v", err)
	}
	for _, lower := range refused {
		if err := OverlayWorks(lower, dir); err == nil {
			t.Errorf("%s can be overlaid", lower)
		} else if strings.TrimSpace(err.Error()) == "" {
			t.Errorf("%s: no reason", lower)
		} else {
			t.Log(err)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}
