//go:build linux

package engine

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// reloadEvery is how often the files that decide are looked at while an agent
// works. What a person takes away there is closed within a second.
const reloadEvery = 250 * time.Millisecond

// ruleWatch puts edited rules in force while the agent works: the
// configuration's grants on the network, and the policy.
type ruleWatch struct {
	*visit
	gate     *gate.Gate
	door     *egress.Door
	settings *settings // in force
}

// watchRules begins to watch. Each change is an action of its own; one that
// cannot be used changes nothing, and that is said. The returned function ends
// it.
func (v *visit) watchRules(ctx context.Context, g *gate.Gate, door *egress.Door) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &ruleWatch{v, g, door, v.settings}
	var group sync.WaitGroup
	group.Go(func() { w.run(ctx, stateOf(w.paths())) })
	return func() {
		cancel()
		group.Wait()
	}
}

func (w *ruleWatch) run(ctx context.Context, seen string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(reloadEvery):
		}
		now := stateOf(w.paths())
		if now == seen {
			continue
		}
		seen = now // what is edited while it is read is read once more
		if err := w.reload(ctx); err != nil && ctx.Err() == nil {
			w.say("the policy was edited and cannot be used; the one before stays in force: " + err.Error())
		}
	}
}

// paths are the files that decide: configuration, what of the repository's was
// accepted, and the policy they name.
func (w *ruleWatch) paths() []string {
	host := w.e.host.Paths
	paths := append([]string{host.OrgConfig, host.UserConfig, w.e.state("trust.json")}, w.opts.Policy...)
	for _, p := range w.settings.Policy {
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

// reload reads the rules again, as a new run of the same desk would, and takes
// them through the gate: the organisation's policy decides about that as well,
// and the log has it. What they no longer allow has ended when it returns. The
// agent's profile, its model endpoint and what it was lent stay.
func (w *ruleWatch) reload(ctx context.Context) error {
	settings, err := w.e.userSettings()
	if err != nil {
		return err
	}
	if err := w.addRepository(ctx, settings); err != nil {
		return err
	}
	grants, rules, err := w.network(settings)
	if err != nil {
		return err
	}
	extra, err := w.flagLayers()
	if err != nil {
		return err
	}
	extra = append(extra, settings.repoPolicy...)
	layers, err := w.allLayers(grants, rules, settings, extra)
	if err != nil {
		return err
	}
	next, err := policy.New(ctx, layers...)
	if err != nil {
		return err
	}
	if next.Digest() == w.inForce.Engine().Digest() {
		next.Close()
		w.settings = settings
		return nil
	}
	a := carrel.Action{Run: w.id, Operation: carrel.OpPolicy, Agent: w.profile.Name, Subject: string(next.Digest()), Reason: "its files were edited"}
	_, err = w.gate.Do(ctx, a, func(context.Context, gate.Grant) (carrel.Outcome, error) {
		if err := w.e.keepPolicy(next); err != nil {
			return carrel.Outcome{}, err
		}
		if err := w.e.rememberBundles(layers); err != nil {
			return carrel.Outcome{}, err
		}
		w.inForce.Replace(next)
		w.door.Replace(rules)
		for _, p := range w.front.Judge(ctx) {
			w.say(fmt.Sprintf("127.0.0.1:%d does not lead to port %d inside any more: the rules do not allow it", p.Host, p.Inside))
		}
		return carrel.Outcome{Status: carrel.OutcomeDone}, nil
	})
	if err != nil {
		next.Close()
		return err
	}
	w.settings = settings
	w.say("the edited policy " + next.Digest().Short() + " is in force" + w.shutPorts(rules))
	return nil
}

// shutPorts says which ports the rules name that this desk cannot use: they
// were settled when it was built.
func (w *ruleWatch) shutPorts(rules *egress.Rules) string {
	var shut []string
	for _, p := range rules.Ports() {
		if !slices.Contains(w.rules.Ports(), p) {
			shut = append(shut, strconv.Itoa(p))
		}
	}
	if len(shut) == 0 {
		return ""
	}
	return "; what it grants on port " + strings.Join(shut, ", ") + " is there from the next run on"
}

// say tells the agent, and the user unless the agent owns the terminal.
func (v *visit) say(line string) {
	line = terminal.Escape(line)
	if !v.interactive() {
		fmt.Fprintf(v.e.host.Stderr, "carrel: %s\n", line)
	}
	v.denials.tell(line)
}
