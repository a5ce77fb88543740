//go:build linux

package engine

import (
	"fmt"
	"os"
	"path/filepath"
)

// open makes the run's private directory and the file of notices.
func (v *visit) open() (err error) {
	if err = os.MkdirAll(v.runDir, 0o700); err != nil {
		return fmt.Errorf("making the run's directory: %w", err)
	}
	for _, dir := range v.plan.MakeDirs {
		if err := v.makePrivate(dir); err != nil {
			return err
		}
	}
	if err := v.fillHome(); err != nil {
		return err
	}
	v.denials.notices, err = os.OpenFile(v.noticesFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("making the run's notices: %w", err)
	}
	v.denials.report = v.tellUser()
	v.findings.tell = v.tellFinding()
	return nil
}

func (v *visit) noticesFile() string { return filepath.Join(v.runDir, "notices") }

// makePrivate makes a directory that the desk's user owns.
func (v *visit) makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a directory of the desk: %w", err)
	}
	if !v.who.Borrowed {
		return nil
	}
	return os.Lchown(dir, v.who.Outside, v.who.Group)
}
