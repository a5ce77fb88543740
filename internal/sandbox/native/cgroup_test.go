package native

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// Hosts that are not this machine, as the kernel describes them.
func TestPlacesForMemoryGroups(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at := filepath.Join(root, "cg")
	write("cg/user.slice/app.slice/cgroup.subtree_control", "memory pids\n")
	write("cg/user.slice/app.slice/mine.scope/cgroup.subtree_control", "")
	v2 := write("v2.mounts", "30 25 0:26 / "+at+" rw,nosuid - cgroup2 cgroup2 rw\n")
	v1 := write("v1.mounts", "30 25 0:26 / "+at+"/cpu rw - cgroup cgroup rw,cpu\n31 25 0:27 /docker/x "+at+"/memory rw - cgroup cgroup rw,memory\n")
	for _, c := range []struct {
		name, groups, mounts string
		want                 []place
	}{
		{"version 2, delegated", "0::/user.slice/app.slice/mine.scope\n", v2, []place{{at + "/user.slice/app.slice", true}}},
		{"version 2, not delegated", "0::/user.slice/mine.scope\n", v2, nil},
		{"version 1, in a container", "5:memory:/docker/x/agents\n4:cpu:/\n", v1, []place{{at + "/memory/agents", false}}},
		{"version 1 without memory", "4:cpu:/\n", v1, nil},
		{"nothing", "", v2, nil},
	} {
		if got := memoryPlaces(write("groups", c.groups), c.mounts); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDiskGuardEndsRunsThatFillTheDisk(t *testing.T) {
	dir := t.TempDir()
	g, err := newDiskGuard([]string{dir}, nil, 0)
	if err != nil || g.exceeded() {
		t.Fatalf("%v, exceeded at once", err)
	}
	for p := range g.floor {
		g.floor[p] = space{bytes: 1 << 62}
	}
	if !g.exceeded() {
		t.Error("a disk without enough free space goes unnoticed")
	}
	g.floor = map[string]space{dir: {inodes: 1 << 62}}
	if !g.exceeded() {
		t.Error("a disk without enough free inodes goes unnoticed")
	}
}
