package workspace

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/needs"
)

// listing describes a tree in one string: kinds, modes, targets, contents.
const listing = `find . -path ./.git -prune -o -printf '%y %m %p %l\n' | sed 's/^l 777/l/' | sort; find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0r sha256sum`

func (s *site) list() string {
	s.t.Helper()
	cmd := exec.Command("/bin/sh", "-euc", listing)
	cmd.Dir = s.root
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatal(err, string(out))
	}
	return string(out)
}

func (s *site) apply(c *carrel.Change) error {
	s.t.Helper()
	a, err := PublishAction(c, carrel.TargetTree, false)
	if err != nil {
		s.t.Fatal(err)
	}
	g, _ := gatetest.AllowAll()
	_, err = g.Do(context.Background(), a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		done, err := Apply(ctx, grant, a, ApplyOptions{Change: c, Blobs: s.ws.opts.Blobs, State: s.state})
		if done.Journal != nil {
			err = errors.Join(err, done.Journal.End())
		}
		return carrel.Outcome{}, err
	})
	return err
}

// What an agent saw at its desk is, after capture and apply, what the user
// has: whatever it did to the tree.
func TestAppliedTreeIsWhatTheAgentSaw(t *testing.T) {
	for name, script := range map[string]string{
		"edits":            `echo two >> a; echo n > n; rm gone`,
		"modes":            `chmod 755 a; chmod 600 gone; chmod 700 dir`,
		"links":            `ln -s a l; rm gone; ln -s ../x gone; rm link; echo file > link`,
		"new directories":  `mkdir -p x/y/z e; echo 1 > x/y/z/f; chmod 700 x/y; mkdir -p p/q/r; ln -s r p/q/l`,
		"removed tree":     `rm -r tree`,
		"replaced tree":    `rm -r tree; mkdir tree; echo new > tree/only`,
		"tree to file":     `rm -r tree; echo file > tree`,
		"file to tree":     `rm a; mkdir -p a/b; echo c > a/b/c`,
		"tree to link":     `rm -r tree; ln -s dir tree`,
		"link to tree":     `rm link; mkdir link; echo x > link/x`,
		"renamed by copy":  `cp -r tree moved; rm -r tree; echo more >> moved/c/d`,
		"hard links":       `echo h > h1; ln h1 h2; ln a a2`,
		"odd names":        "mkdir -- '-d'; echo x > '-d/a b'; echo y > \"$(printf 'n\\nl')\"; echo z > \"$(printf '\\377')\"; echo w > 'b\\s\"q'",
		"empty and sparse": `: > empty; : > a; truncate -s 5M sparse; truncate -s 10M big; printf x >> big`,
		"read-only":        `chmod 444 a; mkdir ro; echo x > ro/f; chmod 555 ro; echo s > dir/s; chmod 400 dir/s`,
		"case":             `echo A > A; echo x > Dir`,
		"nothing":          `touch a; cat gone > t; rm t`,
	} {
		t.Run(name, func(t *testing.T) {
			eachStaging(t, func(t *testing.T, s *site) {
				for rel, content := range map[string]string{"a": "one\n", "gone": "x\n", "dir/b": "b\n", "tree/c/d": "d\n", "tree/c/e": "e\n", "tree/f": "f\n"} {
					s.write(rel, content)
				}
				s.sh("ln -s a link")
				time.Sleep(20 * time.Millisecond)
				before := s.list()
				seat := s.take(SeatOptions{})
				agent(t, seat, script)
				agent(t, seat, "("+listing+") > /tmp/carrel-listing.$$; mv /tmp/carrel-listing.$$ "+s.state+"/seen")
				c := capture(t, seat)
				if s.list() != before {
					t.Fatal("the tree was altered before the apply")
				}
				if err := s.apply(c); err != nil {
					t.Fatalf("%v\n%s", err, describe(c.Files))
				}
				seen, err := os.ReadFile(s.state + "/seen")
				if err != nil {
					t.Fatal(err)
				}
				if got := s.list(); got != string(seen) {
					t.Errorf("applied:\n%s\nthe agent saw:\n%s\nfrom\n%s", got, seen, describe(c.Files))
				}
			})
		})
	}
	needs.AsUser(t, "^TestAppliedTreeIsWhatTheAgentSaw$")
}

// The user goes on editing while the agent works: before and after it first
// wrote the file, nothing of the user's is lost.
func TestUserEditsWhileTheAgentWorks(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("f", "base\n")
		s.write("mine", "base\n")
		time.Sleep(20 * time.Millisecond)
		seat := s.take(SeatOptions{})
		time.Sleep(20 * time.Millisecond)
		s.write("mine", "edited by the user\n")
		agent(t, seat, `echo agent >> f`)
		s.write("f", "edited by the user\n")
		c := capture(t, seat)
		var conflict *ConflictError
		if err := s.apply(c); !errors.As(err, &conflict) || string(conflict.Conflicts[0].Path) != "f" || len(conflict.Conflicts) != 1 {
			t.Errorf("got %v", err)
		}
		if s.read("f") != "edited by the user\n" || s.read("mine") != "edited by the user\n" {
			t.Error("the user's work was lost")
		}
		if strings.Contains(describe(c.Files), "mine") {
			t.Errorf("the user's own edit is in the change:\n%s", describe(c.Files))
		}
	})
}
