package policy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// TestEveryWayOfAskingGivesTheSame: in the bounded process that a run asks, in
// the process of a verb, and as the document that `policy eval` reads, an
// input has one verdict, one set of rules, one reason and one digest.
func TestEveryWayOfAskingGivesTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	at := time.Now().Truncate(time.Second) // part of the input where a policy looks at all of it
	verdicts := map[carrel.Verdict]int{}
	for name, source := range oraclePolicies {
		l := user(source)
		child := engine(t, l)
		here, err := NewHere(context.Background(), l)
		if err != nil {
			t.Fatal(err)
		}
		for tried := 0; tried < 300; {
			a := oracleInput(r)
			raw, err := InputOf(a)
			if err != nil {
				continue
			}
			tried++
			raw = append(fmt.Appendf(nil, `{"time":%q,`, at.Format(time.RFC3339)), raw[1:]...)
			want := child.DecideAt(a, at)
			verdicts[want.Verdict]++
			read, _ := here.ExplainDocument(raw)
			readByChild, _ := child.ExplainDocument(raw)
			for way, got := range map[string]carrel.Decision{"here": here.DecideAt(a, at), "document": read.Decision, "document to the child": readByChild.Decision} {
				if got.Verdict != want.Verdict || !slices.Equal(got.Rules, want.Rules) || got.Reason != want.Reason || got.Input != want.Input || got.Policy != want.Policy {
					t.Fatalf("%s, %s: %s\n  child: %+v\n  %s: %+v", name, way, raw, want, way, got)
				}
			}
		}
	}
	for _, v := range []carrel.Verdict{carrel.Allow, carrel.Ask, carrel.Deny} {
		if verdicts[v] < 50 {
			t.Errorf("only %d of the inputs are answered %s", verdicts[v], v)
		}
	}
}
