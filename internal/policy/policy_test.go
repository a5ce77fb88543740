package policy

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

const head = "package cowork.access\nimport rego.v1\n"

// open allows everything it governs; rules are added to it.

const openHead = head + "allow := true\n"

var inside = write("/workspace/a")

// TestBothVersionsReadAlike: a source that does not say its version has one

// meaning, whichever parser accepts it.

// TestBothVersionsDecideAlike: a source that says nothing and parses as both

// gives the same answers as both.

// TestPoliciesHaveNoIO: attack 154; functions that reach out, or whose answer

// cannot be found again, do not exist.

// TestLayersCannotReachEachOther: a layer that defines rules in another's

// package, or in the floor's, changes nothing there.

// TestConcurrentDecisions: the floor is compiled when it is first asked, by

// however many at once; every decision names the one policy it rested on.

func engine(t testing.TB, layers ...Layer) *Engine {
	t.Helper()
	e, err := New(context.Background(), layers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func user(source string) Layer {
	return Layer{Name: "user", Kind: User, Files: []File{{"user.rego", []byte(source)}}}
}

func write(path string) carrel.Action {
	return carrel.Action{Operation: carrel.OpWrite, Path: path, RawPath: carrel.Text(path)}
}

func wantVerdict(t *testing.T, e *Engine, a carrel.Action, want carrel.Verdict, rule string) carrel.Decision {
	t.Helper()
	d := e.Decide(context.Background(), a)
	if d.Verdict != want {
		t.Errorf("%s %q%q: %s %v (%s), want %s", a.Operation, a.Path, a.Host, d.Verdict, d.Rules, d.Reason, want)
	}
	if rule != "" && !strings.Contains(" "+strings.Join(d.Rules, " ")+" ", " "+rule+" ") {
		t.Errorf("%s %q%q: rules %v, want %s", a.Operation, a.Path, a.Host, d.Rules, rule)
	}
	return d
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrepare(b *testing.B) {
	_, files, err := builtinEntries()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		b.Run(f.Name, func(b *testing.B) {
			for b.Loop() {
				if _, err := prepareBuiltin(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	e := engine(b, egress("api.example.com"))
	for name, a := range map[string]carrel.Action{"write": write("/workspace/internal/deep/er/file.go"), "exec": execAction, "connect": connect("api.example.com")} {
		b.Run(name+"/again", func(b *testing.B) {
			for b.Loop() {
				e.Decide(context.Background(), a)
			}
		})
		b.Run(name+"/first", func(b *testing.B) {
			e.Decide(context.Background(), a)
			for i := 0; b.Loop(); i++ {
				a.Run = carrel.RunID(strconv.Itoa(i))
				e.Decide(context.Background(), a)
			}
		})
	}
}

func BenchmarkDecideUser(b *testing.B) {
	e := engine(b, user(sampleV1))
	a := write("/workspace/internal/deep/er/file.go")
	e.Decide(context.Background(), a)
	for i := 0; b.Loop(); i++ {
		a.Run = carrel.RunID(strconv.Itoa(i))
		e.Decide(context.Background(), a)
	}
}

// What was allowed on the network is allowed again without another look, in
// the same words only; what was denied is looked at again.
func TestNetworkAnswersAreRemembered(t *testing.T) {
	asked := 0
	allow := true
	e, err := New(context.Background(), Layer{Name: "egress", Kind: User, Governs: []carrel.Operation{carrel.OpConnect}, Text: someText,
		Func: func(a carrel.Action) Answer {
			asked++
			if !allow {
				return Answer{}
			}
			return Answer{Verdict: carrel.Allow, Rules: []string{"x"}}
		}})
	if err != nil {
		t.Fatal(err)
	}
	a := carrel.Action{Operation: carrel.OpConnect, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS}
	decide := func(want carrel.Verdict, times int) {
		t.Helper()
		a.ID = carrel.NewActionID()
		if d := e.Decide(context.Background(), a); d.Verdict != want || asked != times {
			t.Errorf("%s after %d questions, want %s after %d", d.Verdict, asked, want, times)
		}
	}
	decide(carrel.Allow, 1)
	decide(carrel.Allow, 1)
	a.Port = 8443
	decide(carrel.Allow, 2)
	a.Port, allow = 22, false
	decide(carrel.Deny, 3)
	decide(carrel.Deny, 4)
}

// BenchmarkServed is the evaluator's side of one question.
func BenchmarkServed(b *testing.B) {
	p, err := compileLayer(user(sampleV1))
	if err != nil {
		b.Fatal(err)
	}
	s := served{questions: p.questions}
	in, err := newInput(write("/workspace/internal/deep/er/file.go"))
	if err != nil {
		b.Fatal(err)
	}
	message := askMessage([]asked{{0, in}})
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			_, _ = parseCanonical(in.json)
		}
	})
	b.Run("answer", func(b *testing.B) {
		for b.Loop() {
			s.answer(message)
		}
	})
}

// TestTextsAreWhatTheManifestNames: who has the texts has everything that the
// policy's digest rests on.
func TestTextsAreWhatTheManifestNames(t *testing.T) {
	withData := user("package cowork.access\nimport rego.v1\nallow if data.open\n")
	withData.Data = []byte(`{"open":true}`)
	e := engine(t, egress("a.test"), withData)
	texts, err := e.Texts()
	if err != nil {
		t.Fatal(err)
	}
	var kept []carrel.Digest
	for _, text := range texts {
		kept = append(kept, carrel.DigestBytes(text))
	}
	for _, s := range e.Sources() {
		named := []carrel.Digest{s.Data, s.Digest}
		for _, f := range s.Files {
			named = append(named, f.Digest)
		}
		for _, d := range named {
			if d != "" && !slices.Contains(kept, d) {
				t.Errorf("of layer %s the text of %s is missing", s.Layer, d)
			}
		}
	}
}
