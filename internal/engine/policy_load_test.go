package engine

import (
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy"
)

// E76: what takes a bundle's place is newer, or the same bytes; two ways to
// write one number are no way back.
func TestAttackRevisionWrittenOtherwise(t *testing.T) {
	for _, c := range []struct {
		before, now string
		same        bool // the same content
		want        bool
	}{
		{"1", "2", false, true},
		{"1", "1", true, true},
		{"2", "1", false, false},
		{"1", "1", false, false},
		{"1", "01", false, false},
		{"01", "1", false, false},
		{"v1.9", "v1.10", false, true},
		{"v1.10", "v1.010", false, false},
		{"v1.10", "v1.9", false, false},
		{"", "1", false, true},
	} {
		before, now := revision{c.before, "sha256:a"}, revision{c.now, "sha256:b"}
		if c.same {
			now.Digest = before.Digest
		}
		if err := now.follows(before, "x"); (err == nil) != c.want {
			t.Errorf("%q after %q: %v", c.now, c.before, err)
		}
	}
}

// D157: what was accepted of a repository is these files, not others whose
// names say the same.
func TestAttackNameReadsAsTwoFiles(t *testing.T) {
	x, y := []byte("package a"), []byte("package b")
	two := policy.Layer{Files: []policy.File{{Name: "a.rego", Source: x}, {Name: "b.rego", Source: y}}}
	posed := "a.rego " + string(carrel.DigestBytes(x)) + "\nb.rego"
	one := policy.Layer{Files: []policy.File{{Name: posed, Source: y}}}
	if layerDigest(two) == layerDigest(one) {
		t.Error("one file passes for two")
	}
}
