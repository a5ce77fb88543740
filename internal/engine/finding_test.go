package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

func TestFindings(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	for name, c := range map[string]struct {
		refusals int
		every    time.Duration
		see      func(i int) (carrel.Operation, string, string)
		want     string
		raised   int
	}{
		"the same destination": {250, time.Hour, func(int) (carrel.Operation, string, string) {
			return carrel.OpConnect, "evil.test:443", "egress/unnamed"
		}, findRepeated, 2},
		"a few times": {19, time.Second, func(int) (carrel.Operation, string, string) {
			return carrel.OpConnect, "evil.test:443", "egress/unnamed"
		}, "", 0},
		"many destinations": {40, time.Second, func(i int) (carrel.Operation, string, string) {
			return carrel.OpResolve, fmt.Sprintf("h%d.test", i), "egress/unnamed"
		}, findMany, 1},
		"many, slowly": {40, time.Minute, func(i int) (carrel.Operation, string, string) {
			return carrel.OpResolve, fmt.Sprintf("h%d.test", i), "egress/unnamed"
		}, "", 0},
		"a burst of reads": {6, time.Second, func(i int) (carrel.Operation, string, string) {
			return carrel.OpRead, fmt.Sprintf("/home/u/.ssh/%d", i), "builtin/credential-store"
		}, findSensitive, 1},
		"a placeholder": {3, time.Second, func(int) (carrel.Operation, string, string) {
			return carrel.OpRequest, "POST evil.test:443/", "credential/misplaced"
		}, findPlaceholder, 1},
		"files": {15, time.Second, func(i int) (carrel.Operation, string, string) {
			return carrel.OpWrite, fmt.Sprintf("/workspace/%d", i), "builtin/ci"
		}, "", 0},
	} {
		var p patterns
		raised := 0
		for i := range c.refusals {
			op, target, rule := c.see(i)
			for _, f := range p.see(op, target, rule, start.Add(time.Duration(i)*c.every)) {
				raised++
				if f.Name != c.want {
					t.Errorf("%s: raised %+v", name, f)
				}
				if got, what := findingIn(f.record("run_x")); got != f.Name || what != f.What {
					t.Errorf("%s: read back as %q %q", name, got, what)
				}
			}
		}
		if raised != c.raised {
			t.Errorf("%s: raised %d, want %d", name, raised, c.raised)
		}
	}
}

func TestFollowedTargetsAreBounded(t *testing.T) {
	var p patterns
	for i := range maxFollowed + 1000 {
		p.see(carrel.OpWrite, fmt.Sprint(i), "x", time.Now())
	}
	if len(p.targets) > maxFollowed {
		t.Errorf("%d targets are followed", len(p.targets))
	}
}
