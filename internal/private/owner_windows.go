package private

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// openFile opens what lies at path itself: a link is opened, not followed,
// and is no regular file then.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
}

const (
	anyRight = ^windows.ACCESS_MASK(0)
	// writing is what alters a file, or who may.
	writing windows.ACCESS_MASK = windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | windows.FILE_WRITE_EA |
		windows.DELETE | windows.WRITE_DAC | windows.WRITE_OWNER | windows.GENERIC_WRITE | windows.GENERIC_ALL
)

func onlyMine(f *os.File) error {
	if err := keptBy(f, anyRight); err != nil {
		return err
	}
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return fmt.Errorf("cannot be checked for a second name: %w", err)
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY == 0 && info.NumberOfLinks != 1 {
		return errors.New("has a second name (hard link)")
	}
	return nil
}

func writtenByTrusted(f *os.File) error { return keptBy(f, writing) }

// keptBy refuses a file or a directory of somebody else, or for which somebody
// else has one of rights. Administrators and the system can have it all.
func keptBy(f *os.File, rights windows.ACCESS_MASK) error {
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("cannot be checked: who you are is not known: %w", err)
	}
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("cannot be checked for its owner: %w", err)
	}
	owner, _, err := sd.Owner()
	switch {
	case err != nil || owner == nil:
		return errors.New("cannot be checked for its owner")
	case !trusted(owner, me.User.Sid):
		return fmt.Errorf("belongs to %s, not to you", nameOf(owner))
	}
	dacl, _, err := sd.DACL()
	if err != nil || dacl == nil {
		return errors.New("can be reached by everybody: it has no access list")
	}
	return checkEntries(dacl, me.User.Sid, rights)
}

// checkEntries passes over what denies and what is only for files made below;
// those are looked at themselves. What it does not know it refuses.
func checkEntries(dacl *windows.ACL, me *windows.SID, rights windows.ACCESS_MASK) error {
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return fmt.Errorf("cannot be checked for who may reach it: %w", err)
		}
		switch {
		case ace.Header.AceType == windows.ACCESS_DENIED_ACE_TYPE, ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0:
			continue
		case ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE:
			return fmt.Errorf("has an access list with an entry of kind %d, which is not known here", ace.Header.AceType)
		}
		who := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		if ace.Mask&rights != 0 && !trusted(who, me) {
			return fmt.Errorf("can be reached by %s; take that right away (icacls FILE /inheritance:r /grant:r \"%%USERNAME%%:F\")", nameOf(who))
		}
	}
	return nil
}

// trustedInstaller owns what the system has installed.
var trustedInstaller, _ = windows.StringToSid("S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464")

func trusted(who, me *windows.SID) bool {
	return who.Equals(me) || who.IsWellKnown(windows.WinLocalSystemSid) || who.IsWellKnown(windows.WinBuiltinAdministratorsSid) ||
		who.IsWellKnown(windows.WinCreatorOwnerRightsSid) || trustedInstaller != nil && who.Equals(trustedInstaller)
}

func nameOf(sid *windows.SID) string {
	if name, domain, _, err := sid.LookupAccount(""); err == nil {
		return domain + `\` + name
	}
	return sid.String()
}

// closeDir leaves a directory, and what is made in it, to this user and the
// administrators.
func closeDir(dir string, d *os.File) error {
	if onlyMine(d) == nil {
		return nil
	}
	if err := keptBy(d, 0); err != nil { // whose is it?
		return err
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString("D:P(A;OICI;FA;;;" + me.User.Sid.String() + ")(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)")
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	const what = windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	if err := windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, what, nil, nil, dacl, nil); err != nil {
		return fmt.Errorf("cannot be closed to others: %w", err)
	}
	return onlyMine(d)
}

// SyncDir does nothing: a directory cannot be flushed here, and the file
// system journals names.
func SyncDir(string) error { return nil }

// rename waits a little for those who have the old file open, for a file that
// is open cannot be replaced here.
func rename(from, to string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := os.Rename(from, to)
		busy := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if !busy || wait > 500*time.Millisecond {
			return err
		}
		time.Sleep(wait)
	}
}

// openLock opens a file beside the others: a directory cannot be locked here.
func openLock(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
}

// lock waits for the exclusive lock on f, which lasts until f is closed.
func lock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, new(windows.Overlapped))
}
