//go:build linux

package attack

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAWallIsOnlyWhatWasMeantToStop(t *testing.T) {
	works := func(*Stage) error { return nil }
	for name, c := range map[string]struct {
		try  func(*Stage) error
		held bool
		how  string
	}{
		"got in":          {works, false, "got in"},
		"by the wall":     {func(*Stage) error { return &fs.PathError{Err: unix.EROFS} }, true, "EROFS"},
		"by another":      {func(*Stage) error { return unix.EFAULT }, false, "stopped by chance: EFAULT"},
		"by a time-out":   {func(*Stage) error { return errors.New("i/o timeout") }, false, "stopped by chance"},
		"by an answer":    {func(*Stage) error { return fmt.Errorf("reading: %w", stopped("empty")) }, true, "empty"},
		"by its own fall": {func(*Stage) error { panic("x") }, false, "panic"},
	} {
		a := Attack{Name: name, Try: c.try, By: readOnly, Twin: works}
		if r := a.run(&Stage{}); r.Held != c.held || !strings.Contains(r.How, c.how) || !r.Twin || r.Name != name {
			t.Errorf("%s: %+v", name, r)
		}
	}
	a := Attack{Try: func(*Stage) error { return unix.EPERM }, By: forbidden, Twin: func(*Stage) error { return unix.EPERM }}
	if r := a.run(&Stage{}); !r.Held || r.Twin || !strings.Contains(r.TwinHow, "EPERM") {
		t.Errorf("a twin that does not work: %+v", r)
	}
}

func TestEveryRowIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range All() {
		if seen[a.Name] {
			t.Errorf("%s: twice", a.Name)
		}
		seen[a.Name] = true
		if a.Name == "" || a.Group == "" || a.Tries == "" || a.TwinTries == "" || a.Try == nil || a.Twin == nil {
			t.Errorf("%s: not whole: %+v", a.Name, a)
		}
	}
	if len(seen) < 200 {
		t.Errorf("only %d attacks", len(seen))
	}
	if bare := For(&Stage{}); len(bare) >= len(seen) || len(bare) < 80 {
		t.Errorf("%d of %d attacks need no more than a desk", len(bare), len(seen))
	}
}
