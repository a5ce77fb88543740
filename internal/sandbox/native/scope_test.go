package native

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
)

// No systemd runs for users of test machines. What can be tried is that the
// call is one that D-Bus takes: a bus without systemd says that it is missing,
// and nothing about the call.
func TestScopeIsAskedForInWordsThatDBusKnows(t *testing.T) {
	needs.Tool(t, "busctl", "dbus-daemon")
	dir := t.TempDir()
	bus := exec.Command("dbus-daemon", "--session", "--nofork", "--address=unix:path="+dir+"/bus")
	if err := bus.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bus.Process.Kill(); _ = bus.Wait() }()
	for range 500 {
		if _, err := os.Stat(filepath.Join(dir, "bus")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	err := askForScope(dir, "carrel-1-run.scope", 1<<30, 2, 3)
	if err == nil || !strings.Contains(err.Error(), "org.freedesktop.systemd1") || strings.Contains(err.Error(), "ignature") || strings.Contains(err.Error(), "parameters") {
		t.Errorf("got %v", err)
	}
	t.Log(err)
}

func TestKeeperEndsWhenItIsLetGo(t *testing.T) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pid, hold, err := startKeeper(f)
	if err != nil {
		t.Fatal(err)
	}
	g := &cgroup{hold: hold}
	g.remove()
	for range 500 {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the keeper stays")
}
