package native

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

//go:embed initbin
var initbin embed.FS

// image is PID 1's program, opened once per supervisor.
type image struct {
	once sync.Once
	file *os.File // open for as long as the tier lives
	how  string
	err  error
}

// open returns the program. It is started by descriptor, so that what was
// checked is what runs.
func (i *image) open(installDir string) (*os.File, error) {
	i.once.Do(func() {
		if i.file, i.how, i.err = openImage(installDir); i.err == nil {
			i.file, i.err = aside(i.file)
		}
	})
	return i.file, i.err
}

// aside moves a descriptor out of the way of those that a child is given: it
// is executed by its number, after theirs have been put in place.
func aside(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 64)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", desk.Name, err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func openImage(installDir string) (*os.File, string, error) {
	if _, err := fs.Stat(initbin, embedded); errors.Is(err, fs.ErrNotExist) {
		f, err := os.Open("/proc/self/exe")
		return f, "carrel itself, started again (slower; built without make)", err
	}
	if installDir != "" {
		if f, err := installed(installDir); err == nil {
			return f, "an installed file", nil
		}
	}
	b, err := initbin.ReadFile(embedded)
	if err != nil {
		return nil, "", err
	}
	f, err := inMemory(b)
	return f, "sealed memory", err
}

const embedded = "initbin/" + desk.Name

// inMemory puts the program in a sealed anonymous file.
func inMemory(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(desk.Name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("keeping %s in memory: %w", desk.Name, err)
	}
	f := os.NewFile(uintptr(fd), desk.Name)
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, fmt.Errorf("keeping %s in memory: %w", desk.Name, err)
	}
	if err := seal(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func seal(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	if err != nil {
		return fmt.Errorf("sealing %s: %w", f.Name(), err)
	}
	return nil
}

// installed returns the program from dir, where it is written first if need
// be. Hashing it at every start would cost as much as it saves: the digest is
// checked once, when it was written, and from then on the stamp of it and of
// the carrel that wrote it. That tells a torn write, another version or a
// stray edit. It does not tell what a process of the same user, or root, does
// on purpose: the stamp lies beside the program, and whoever can write there
// could as well replace carrel. No desk can: the directory is never shown.
func installed(dir string) (*os.File, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer self.Close()
	writer, err := stamp(self)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, desk.Name)
	if f, err := openStamped(name, writer); err == nil {
		return f, nil
	}
	b, err := initbin.ReadFile(embedded)
	if err != nil {
		return nil, err
	}
	return install(dir, name, writer, b)
}

// openStamped opens the program if it is the one that was stamped.
func openStamped(name, writer string) (*os.File, error) {
	want, err := os.ReadFile(name + ".stamp")
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	got, err := stamp(f)
	if err != nil || got+writer != string(want) {
		f.Close()
		return nil, fmt.Errorf("%s is not what was installed", name)
	}
	return f, nil
}

// stamp says which file this is, in which state: device, inode, size, and the
// time of its last change of content or attributes, which cannot be set and is
// as fine as the kernel's clock tick.
func stamp(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d %d %d.%09d\n", st.Dev, st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec), nil
}

// install writes the program, checks what was written and stamps it.
func install(dir, name, writer string, b []byte) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(dir, desk.Name+".new-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Chmod(0o555), tmp.Close(), os.Rename(tmp.Name(), name)); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	s, err := stamp(f)
	if err == nil {
		err = verify(f, sha256.Sum256(b))
	}
	if err == nil {
		err = os.WriteFile(name+".stamp", []byte(s+writer), 0o600)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func verify(f *os.File, want [sha256.Size]byte) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<30)); err != nil {
		return err
	}
	if !bytes.Equal(h.Sum(nil), want[:]) {
		return fmt.Errorf("%s does not have its digest", f.Name())
	}
	return nil
}
