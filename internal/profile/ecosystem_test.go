package profile

import (
	"os"
	"slices"
	"testing"
)

func TestEcosystemsOnlyRead(t *testing.T) {
	entries, err := os.ReadDir("ecosystem")
	if err != nil || len(entries) != len(EcosystemNames()) {
		t.Fatalf("%d files for %v, %v", len(entries), EcosystemNames(), err)
	}
	for _, name := range EcosystemNames() {
		p, ok := Ecosystem(name)
		if !ok || p.Name != name || len(p.Egress) == 0 || p.Model != nil || p.Home.Keep || len(p.Home.Fill) > 0 || len(p.Match) > 0 {
			t.Errorf("%s: %+v", name, p)
		}
		for _, d := range p.Egress {
			reads := !slices.ContainsFunc(d.Methods, func(m string) bool { return m != "GET" && m != "HEAD" })
			if d.Why == "" || len(d.Methods) == 0 || !reads && len(d.Paths) == 0 {
				t.Errorf("%s: %s: every destination says why, its methods, and for more than reading its paths", name, d.Host)
			}
		}
		if _, agent := Get(name); agent {
			t.Errorf("%s is an agent as well", name)
		}
	}
	if _, ok := Ecosystem("../known/claude"); ok {
		t.Error("a path is no name")
	}
}
