//go:build linux

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
)

// What every test uses: the binary under test and the probe, in a directory
// that every user may enter, and an ordinary user.
var (
	carrelBin string
	probeBin  string
	ordinary  *user.User // nil if the tests do not run as root
)

func TestMain(m *testing.M) { os.Exit(mainTest(m)) }

func mainTest(m *testing.M) int {
	dir, err := os.MkdirTemp("", "carrel-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := setUp(dir); err != nil {
		fmt.Fprintln(os.Stderr, "setting up:", err)
		return 1
	}
	return m.Run()
}

func setUp(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	carrelBin, probeBin = filepath.Join(dir, "carrel"), filepath.Join(dir, "probe")
	if built := os.Getenv("CARREL_BIN"); built != "" {
		if err := copyFile(carrelBin, built); err != nil {
			return err
		}
	} else if err := build(carrelBin, "../cmd/carrel"); err != nil {
		return err
	}
	if err := build(probeBin, "./probe"); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		return nil
	}
	var err error
	ordinary, err = needs.User()
	return err
}

func build(to, folder string) error {
	cmd := exec.Command("go", "build", "-o", to, folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", folder, err, out)
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
