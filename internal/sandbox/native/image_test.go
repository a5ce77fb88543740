package native

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestInstalledProgramIsReplacedWhenItWasTouched(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "carrel-init")
	const writer = "this carrel\n"
	good := []byte("the program")
	f, err := install(dir, name, writer, good)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if f, err := openStamped(name, writer); err != nil {
		t.Errorf("the installed program is not taken: %v", err)
	} else {
		f.Close()
	}
	if f, err := openStamped(name, "another carrel\n"); err == nil {
		f.Close()
		t.Error("a program that another carrel installed is taken")
	}
	// Same size, same modification time: only the change time gives it away.
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("The Program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	if f, err := openStamped(name, writer); err == nil {
		f.Close()
		t.Error("a program that was changed is taken")
	}
}

func TestProgramInMemoryCannotBeChanged(t *testing.T) {
	f, err := inMemory([]byte("the program"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("sealed memory was written")
	}
	if err := unix.Ftruncate(int(f.Fd()), 0); err == nil {
		t.Error("sealed memory was cut off")
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
	if err != nil || !bytes.Equal(got, []byte("the program")) {
		t.Errorf("%q, %v", got, err)
	}
}
