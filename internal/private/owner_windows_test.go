package private

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/windows"
)

// allow lets everybody do what sddl says, besides the owner.
func allow(t *testing.T, path, rights string) {
	t.Helper()
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	must(t, err)
	sd, err := windows.SecurityDescriptorFromString("D:P(A;;FA;;;" + me.User.Sid.String() + ")(A;;" + rights + ";;;WD)")
	must(t, err)
	dacl, _, err := sd.DACL()
	must(t, err)
	must(t, windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil))
}

// What somebody else could have put there is not read.
func TestAttackPlantedFile(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"others may read":  func(p string) error { allow(t, p, "FR"); return nil },
		"others may write": func(p string) error { allow(t, p, "FRFW"); return nil },
		"a hard link":      func(p string) error { return os.Link(p, p+"2") },
		"a directory":      func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
	} {
		dir := filepath.Join(t.TempDir(), "mine")
		must(t, MakeDir(dir))
		must(t, CloseDir(dir))
		path := filepath.Join(dir, "file")
		must(t, Replace(path, []byte("x")))
		if _, err := Read(path, 10); err != nil {
			t.Errorf("%s, before: %v", name, err)
		}
		must(t, plant(path))
		if got, err := Read(path, 10); err == nil {
			t.Errorf("%s: read %q", name, got)
		}
	}
}

func TestCloseDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	must(t, MakeDir(dir))
	allow(t, dir, "FA")
	if CheckDir(dir) == nil {
		t.Error("others can enter before")
	}
	must(t, CloseDir(dir))
	must(t, CheckDir(dir))
}

// What grants may be read by others and not written.
func TestAttackWriters(t *testing.T) {
	for rights, want := range map[string]bool{"FR": true, "FRFW": false, "FA": false} {
		path := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(path, nil, 0o600))
		allow(t, path, rights)
		f, err := os.Open(path)
		must(t, err)
		if err := CheckWriters(f); (err == nil) != want {
			t.Errorf("%s: %v", rights, err)
		}
		must(t, f.Close())
	}
}
