package gate_test

import (
	"context"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

// What Redact takes out is gone before the digest: policy, intent and result
// do not have it, and the grant still covers what the effect was given, and
// nothing else.
func TestRedactedActions(t *testing.T) {
	ctx := context.Background()
	log := &gatetest.Log{}
	g := gate.New(gatetest.Decide(func(a carrel.Action) carrel.Decision {
		if strings.Contains(string(a.URL), "hunter") {
			t.Error("the policy sees the secret")
		}
		return carrel.Decision{Verdict: carrel.Allow}
	}), gatetest.Nobody{}, log)
	g.Redact = func(a carrel.Action) carrel.Action {
		a.URL = carrel.Text(strings.NewReplacer("hunter2", "[1]", "hunter3", "[2]").Replace(string(a.URL)))
		return a
	}
	a := carrel.Action{Operation: carrel.OpRequest, Host: "api.example.test", Port: 443, Method: "POST", URL: "/v1?key=hunter2"}
	_, err := g.Do(ctx, a, func(_ context.Context, grant gate.Grant) (carrel.Outcome, error) {
		other := a
		other.URL = "/v1?key=hunter3"
		if grant.Covers(other) == nil {
			t.Error("the grant covers an action with another secret")
		}
		return carrel.Outcome{}, grant.Covers(a)
	})
	if err != nil {
		t.Fatal(err)
	}
	records := log.Records()
	if len(records) != 2 || records[0].ActionDigest != records[1].ActionDigest {
		t.Fatalf("%d records, want intent and result of one digest", len(records))
	}
	digest, err := records[0].Action.Digest()
	if err != nil || digest != records[0].ActionDigest || records[0].Action.URL != "/v1?key=[1]" {
		t.Errorf("recorded %s with the digest of something else: %v", records[0].Action.URL, err)
	}
}
