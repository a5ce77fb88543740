//go:build linux

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/credential"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

// attacks.md G 143: an error that quotes a key is recorded without it.
func TestKeysStayOutOfOutcomes(t *testing.T) {
	const lentKey, modelKey = "ghp_C4naryOfTheLentKey0123456789abcd", "sk-ant-C4naryOfTheModelKey0123456789"
	key := func(k string) *credential.Source {
		return credential.FromEnv("K", func(string) (string, bool) { return k, true })
	}
	rules, err := credential.NewRules([]credential.Definition{{Name: "lent", Source: key(lentKey), Bindings: []credential.Binding{{Host: "a.test"}}}}, egress.Paths)
	if err != nil {
		t.Fatal(err)
	}
	log := &gatetest.Log{}
	v := &visit{model: &modelDoor{source: key(modelKey)}}
	allow := gatetest.Decide(func(carrel.Action) carrel.Decision { return carrel.Decision{Verdict: carrel.Allow} })
	g := gate.New(allow, gatetest.Nobody{}, redacting{log, v.redact})
	v.leases = credential.New(g, credential.Config{Rules: rules})
	if _, err := v.leases.Lend(context.Background(), "lent"); err != nil {
		t.Fatal(err)
	}
	a := carrel.Action{Operation: carrel.OpCredential, Subject: "model"}
	_, err = g.Do(context.Background(), a, func(ctx context.Context, live gate.Grant) (carrel.Outcome, error) {
		if _, err := v.model.source.Get(ctx, live, a, false); err != nil {
			return carrel.Outcome{}, err
		}
		return carrel.Outcome{Facts: map[string]carrel.Text{"url": "https://a.test/?key=" + lentKey}}, errors.New("dialling with " + modelKey)
	})
	if err == nil {
		t.Fatal("no error")
	}
	raw, _ := json.Marshal(log.Records())
	if text := string(raw); strings.Contains(text, "C4nary") || !strings.Contains(text, "dialling with ") || !strings.Contains(text, "?key=ghp_") {
		t.Errorf("recorded %s", text)
	}
}
