//go:build linux

package engine

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// reloadEvery is how often the files of the policy are looked at while an
// agent works: a person who has just closed an editor does not wait long.
const reloadEvery = time.Second

// watchPolicy puts an edited policy in force while the agent works, as an
// action of its own. One that cannot be used changes nothing: the policy
// before it stays in force, and that is said. The returned function ends it.
func (v *visit) watchPolicy(ctx context.Context, g *gate.Gate) (stop func()) {
	paths := v.policyPaths()
	if len(paths) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() {
		seen := stateOf(paths)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(reloadEvery):
			}
			if now := stateOf(paths); now != seen {
				seen = now
				if err := v.reload(ctx, g); err != nil && ctx.Err() == nil {
					v.say("the policy was edited and cannot be used; the one before stays in force: " + err.Error())
				}
			}
		}
	})
	return func() {
		cancel()
		group.Wait()
	}
}

func (v *visit) policyPaths() []string {
	paths := append([]string(nil), v.opts.Policy...)
	for _, p := range v.settings.Policy {
		paths = append(paths, p.Value)
	}
	return paths
}

// stateOf tells whether files below the paths were edited, without reading
// them.
func stateOf(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error { // what cannot be read is a state, too
			if err != nil {
				fmt.Fprintf(&b, "%s %v\n", p, err)
				return nil
			}
			if info, err := os.Stat(p); err == nil && !d.IsDir() {
				fmt.Fprintf(&b, "%s %d %d\n", p, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
	return b.String()
}

// reload reads and compiles the policy again and takes it through the gate:
// the organisation's policy decides about that as well, and the log has it.
func (v *visit) reload(ctx context.Context, g *gate.Gate) error {
	configured, err := v.e.configuredLayers(config.Effective{Policy: v.settings.Policy, PolicyKeys: v.settings.PolicyKeys})
	if err != nil {
		return err
	}
	extra, err := v.flagLayers()
	if err != nil {
		return err
	}
	extra = append(extra, v.settings.repoPolicy...)
	next, err := policy.New(ctx, v.allLayers(configured, extra)...)
	if err != nil {
		return err
	}
	if next.Digest() == v.inForce.Engine().Digest() {
		next.Close()
		return nil
	}
	a := carrel.Action{Run: v.id, Operation: carrel.OpPolicy, Agent: v.profile.Name, Subject: string(next.Digest()), Reason: "its files were edited"}
	_, err = g.Do(ctx, a, func(context.Context, gate.Grant) (carrel.Outcome, error) {
		if err := v.e.keepPolicy(next); err != nil {
			return carrel.Outcome{}, err
		}
		v.inForce.Replace(next)
		return carrel.Outcome{Status: carrel.OutcomeDone}, nil
	})
	if err != nil {
		next.Close()
		return err
	}
	v.say("the edited policy " + next.Digest().Short() + " is in force")
	return nil
}

// say tells the agent, and the user unless the agent owns the terminal.
func (v *visit) say(line string) {
	line = terminal.Escape(line)
	if !v.interactive() {
		fmt.Fprintf(v.e.host.Stderr, "carrel: %s\n", line)
	}
	v.denials.tell(line)
}
