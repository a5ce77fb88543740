package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/place"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/private"
)

// linked is a command as many are: the program's file has another name than
// the one it is started under.
var linked = carrel.Action{
	ID: "act_06h0dkqxabpdxnvgax636fsjsg", Run: "run_06h0dkqx526cgdzxkten7w80ng", Operation: carrel.OpExec, Agent: "default",
	Path: "/usr/lib/node_modules/npm/bin/npm-cli.js", Argv: []carrel.Text{"npm", "publish"}, Cwd: "/workspace",
}

// linkedBefore is what rules saw of it before they saw `programs`.
const linkedBefore = `{"agent":"default","argv":["npm","publish"],"classes":[],"cwd":"/workspace","digest":"","operation":"exec",` +
	`"path":"/usr/lib/node_modules/npm/bin/npm-cli.js","program":"npm-cli.js","run":"run_06h0dkqx526cgdzxkten7w80ng"}`

// explained writes one record into a log and explains its action, as JSON and
// as text.
func explained(t *testing.T, r carrel.Record, change func(manifest string) string) (x PolicyExplained, text string) {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	host := Host{UID: os.Getuid(), Cwd: dir, Home: dir, Paths: place.Paths{State: filepath.Join(dir, "state"), Second: filepath.Join(dir, "second")}}
	for _, d := range []string{"log", "keys", "policies"} {
		if err := os.MkdirAll(filepath.Join(host.Paths.State, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	engine, err := policy.NewHere(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list, err := engine.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	list = []byte(change(string(list)))
	digest := carrel.DigestBytes(list)
	if err := private.ReplaceSoon((&Records{host}).policyText(digest), list); err != nil {
		t.Fatal(err)
	}
	if r.Decision != nil {
		r.Decision.Policy = digest
	}
	log, err := audit.Open(ctx, host.logOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Append(ctx, r); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, asJSON := range []bool{true, false} {
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		host.Stdout = out
		if err := (&Records{host}).PolicyExplain(ctx, string(r.Action.ID), PolicyOptions{}, asJSON); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out.Name())
		if asJSON && err == nil {
			err = json.Unmarshal(b, &x)
		}
		if text = string(b); err != nil {
			t.Fatal(err)
		}
	}
	return x, text
}

func intent(input carrel.Digest) carrel.Record {
	digest, err := linked.Digest()
	if err != nil {
		panic(err)
	}
	return carrel.Record{
		Kind: carrel.KindIntent, Run: linked.Run, Time: time.Now(), Action: &linked, ActionDigest: digest,
		Decision: &carrel.Decision{Verdict: carrel.Allow, Rules: []string{"builtin/allow"}, Input: input},
	}
}

func unchanged(s string) string { return s }

func wantText(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("it does not say %q\n%s", w, text)
		}
	}
}

// What was decided before commands had `programs` is explained on what the
// rules saw then, and not as today's would answer.
func TestExplainsWhatWasDecidedOnAnOlderInput(t *testing.T) {
	x, text := explained(t, intent(carrel.DigestBytes([]byte(linkedBefore))), unchanged)
	if !x.Same || !x.Floor || !x.Proved || string(x.Lacked[0]) != "programs" || x.Again.Verdict != carrel.Allow {
		t.Errorf("%+v", x)
	}
	wantText(t, text, "the policy that decided said", "rules had not yet programs")
	if strings.Contains(text, "publishes") {
		t.Errorf("it names a rule that did not hold\n%s", text)
	}
}

// What nobody can work out any more is said to be unknown.
func TestExplainSaysWhatIsUnknown(t *testing.T) {
	x, text := explained(t, intent(carrel.DigestBytes([]byte("an input of some other version"))), unchanged)
	if x.Proved || x.Again.Verdict != carrel.Ask {
		t.Errorf("%+v", x)
	}
	wantText(t, text, "decided: allow", "the policy that decided would say ask today", "is not known for certain")

	now := intent(carrel.DigestBytes([]byte(linkedBefore)))
	x, text = explained(t, now, func(m string) string { // another floor
		file, rest, _ := strings.Cut(m, `"digest":"sha256:`)
		return file + `"digest":"sha256:` + strings.Repeat("0", 64) + rest[64:]
	})
	if x.Same && x.Floor {
		t.Errorf("%+v", x)
	}
	wantText(t, text, "with the built-in rules of today, which were others then")
}

// A command that was only observed was not decided, and is found all the same.
func TestExplainsAnObservedCommand(t *testing.T) {
	x, text := explained(t, carrel.Record{Kind: carrel.KindObservation, Run: linked.Run, Time: time.Now(), Action: &linked}, unchanged)
	if x.Decided || x.Same || x.Again.Verdict != carrel.Ask {
		t.Errorf("%+v", x)
	}
	wantText(t, text, "recorded, not decided", "today's policy would say ask", "publishes")
}
