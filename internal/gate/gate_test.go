package gate_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

var connect = carrel.Action{Run: "run_1", Operation: carrel.OpConnect, Host: "ok.test", Port: 443}

func always(d carrel.Decision) gate.Decider {
	return gatetest.Decide(func(carrel.Action) carrel.Decision { return d })
}

type answer func(carrel.Action, carrel.Digest, carrel.Decision) (carrel.Approval, error)

func (f answer) Await(_ context.Context, a carrel.Action, d carrel.Digest, dec carrel.Decision) (carrel.Approval, error) {
	return f(a, d, dec)
}

// try runs connect through g and reports whether its effect ran.
func try(g *gate.Gate) (ran bool, err error) {
	_, err = g.Do(context.Background(), connect, func(context.Context, gate.Grant) (carrel.Outcome, error) {
		ran = true
		return carrel.Outcome{}, nil
	})
	return ran, err
}

func kinds(records []carrel.Record) []carrel.RecordKind {
	var out []carrel.RecordKind
	for _, r := range records {
		out = append(out, r.Kind)
	}
	return out
}

func TestAllowedEffectRunsBetweenIntentAndResult(t *testing.T) {
	g, log := gatetest.AllowAll()
	var before int
	_, err := g.Do(context.Background(), connect, func(context.Context, gate.Grant) (carrel.Outcome, error) {
		before = len(log.Records())
		return carrel.Outcome{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := kinds(log.Records())
	if before != 1 || len(got) != 2 || got[0] != carrel.KindIntent || got[1] != carrel.KindResult {
		t.Errorf("records before the effect: %d, all: %v", before, got)
	}
	if d, _ := connect.Digest(); log.Records()[0].ActionDigest != d {
		t.Error("the intent does not carry the action's digest")
	}
}

func TestNothingButAllowLetsAnEffectRun(t *testing.T) {
	panics := gatetest.Decide(func(carrel.Action) carrel.Decision { panic("boom") })
	for name, d := range map[string]gate.Decider{
		"zero":    always(carrel.Decision{}),
		"deny":    always(carrel.Decision{Verdict: carrel.Deny}),
		"unknown": always(carrel.Decision{Verdict: "ALLOW"}),
		"ask":     always(carrel.Decision{Verdict: carrel.Ask}),
		"panic":   panics,
	} {
		log := &gatetest.Log{}
		ran, err := try(gate.New(d, gatetest.Nobody{}, log))
		var refusal *gate.Refusal
		if ran || !errors.As(err, &refusal) {
			t.Errorf("%s: ran %v, error %v", name, ran, err)
		}
		if got := kinds(log.Records()); len(got) != 1 || got[0] != carrel.KindRefused {
			t.Errorf("%s: records %v, want one refusal", name, got)
		}
	}
}

func TestZeroGateRefuses(t *testing.T) {
	for _, g := range []*gate.Gate{nil, {}, gate.New(nil, gatetest.Nobody{}, &gatetest.Log{})} {
		if ran, err := try(g); ran || !errors.Is(err, gate.ErrStopped) {
			t.Errorf("ran %v, error %v", ran, err)
		}
	}
}

func TestUnrecordedIntentNeverRuns(t *testing.T) {
	log := &gatetest.Log{Fail: func(carrel.Record) error { return errors.New("disk full") }}
	ran, err := try(gate.New(always(carrel.Decision{Verdict: carrel.Allow}), gatetest.Nobody{}, log))
	if ran || !errors.Is(err, gate.ErrUnrecorded) {
		t.Errorf("ran %v, error %v", ran, err)
	}
}

func TestUnrecordedResultStopsTheGate(t *testing.T) {
	g, log := gatetest.AllowAll()
	log.Fail = func(r carrel.Record) error {
		if r.Kind == carrel.KindResult {
			return errors.New("disk full")
		}
		return nil
	}
	if ran, err := try(g); !ran || err == nil {
		t.Errorf("first: ran %v, error %v", ran, err)
	}
	if ran, err := try(g); ran || !errors.Is(err, gate.ErrStopped) {
		t.Errorf("second: ran %v, error %v", ran, err)
	}
}

func TestPanickingEffectIsRecordedAsFailed(t *testing.T) {
	g, log := gatetest.AllowAll()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = g.Do(context.Background(), connect, func(context.Context, gate.Grant) (carrel.Outcome, error) { panic("boom") })
	}()
	records := log.Records()
	if len(records) != 2 || records[1].Outcome.Status != carrel.OutcomeFailed {
		t.Errorf("records %v", kinds(records))
	}
}

// An approval is good for one action, one run, one policy and a time, and
// only if people said yes.
func TestApprovalMustFitTheAsk(t *testing.T) {
	ask := carrel.Decision{Verdict: carrel.Ask, Policy: "sha256:p"}
	good := func(a carrel.Action, d carrel.Digest, dec carrel.Decision) carrel.Approval {
		now := time.Now()
		return carrel.Approval{Action: d, Run: a.Run, Policy: dec.Policy, Granted: true, Time: now, Expires: now.Add(time.Hour)}
	}
	for name, spoil := range map[string]func(*carrel.Approval){
		"":               func(*carrel.Approval) {},
		"other action":   func(p *carrel.Approval) { p.Action = carrel.DigestBytes(nil) },
		"no action":      func(p *carrel.Approval) { p.Action = "" },
		"other run":      func(p *carrel.Approval) { p.Run = "run_2" },
		"other policy":   func(p *carrel.Approval) { p.Policy = "sha256:q" },
		"said no":        func(p *carrel.Approval) { p.Granted = false },
		"expired":        func(p *carrel.Approval) { p.Expires = time.Now().Add(-time.Second) },
		"no expiry":      func(p *carrel.Approval) { p.Expires = time.Time{} },
		"from to-morrow": func(p *carrel.Approval) { p.Time = time.Now().Add(24 * time.Hour) },
		"zero value":     func(p *carrel.Approval) { *p = carrel.Approval{} },
	} {
		who := answer(func(a carrel.Action, d carrel.Digest, dec carrel.Decision) (carrel.Approval, error) {
			p := good(a, d, dec)
			spoil(&p)
			return p, nil
		})
		ran, err := try(gate.New(always(ask), who, &gatetest.Log{}))
		if want := name == ""; ran != want || (err == nil) != want {
			t.Errorf("%q: ran %v, error %v", name, ran, err)
		}
	}
}

func TestPendingAndExpiredAreTold(t *testing.T) {
	ask := always(carrel.Decision{Verdict: carrel.Ask})
	for _, want := range []error{gate.ErrPending, gate.ErrExpired} {
		who := answer(func(carrel.Action, carrel.Digest, carrel.Decision) (carrel.Approval, error) {
			return carrel.Approval{}, want
		})
		if ran, err := try(gate.New(ask, who, &gatetest.Log{})); ran || !errors.Is(err, want) {
			t.Errorf("ran %v, error %v, want %v", ran, err, want)
		}
	}
}

func TestActionIsFrozenOnEntry(t *testing.T) {
	log := &gatetest.Log{}
	a := carrel.Action{Operation: carrel.OpExec, Argv: []carrel.Text{"git", "status"}}
	hostile := gatetest.Decide(func(seen carrel.Action) carrel.Decision {
		seen.Argv[0] = "rm"
		a.Argv[1] = "push"
		return carrel.Decision{Verdict: carrel.Allow}
	})
	want, _ := a.Digest()
	_, err := gate.New(hostile, gatetest.Nobody{}, log).Do(context.Background(), a, func(context.Context, gate.Grant) (carrel.Outcome, error) {
		return carrel.Outcome{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := log.Records()[0].Action.Digest(); got != want {
		t.Errorf("recorded %v", log.Records()[0].Action.Argv)
	}
}

func TestRefusalIsRecordedWhenTheCallerHasGone(t *testing.T) {
	g, log := gatetest.DenyAll()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _ = g.Do(ctx, connect, nil)
	if len(log.Records()) != 1 {
		t.Error("no record")
	}
}

// ways is a log that notes which records waited for the disk, and refuses
// whatever comes with a context that was cancelled.
type ways struct{ durable, queued []carrel.RecordKind }

func (w *ways) Append(ctx context.Context, r carrel.Record) error {
	w.durable = append(w.durable, r.Kind)
	return ctx.Err()
}

func (w *ways) Enqueue(ctx context.Context, r carrel.Record) error {
	w.queued = append(w.queued, r.Kind)
	return ctx.Err()
}

// The intent is durable before the effect runs, unless it only looks; only a
// publication waits for its result. A caller who goes away stops no record.
func TestWhatIsDurableBeforeItsEffect(t *testing.T) {
	request := func(method string) carrel.Action { return carrel.Action{Operation: carrel.OpRequest, Method: method} }
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		action          carrel.Action
		durable, queued int
	}{
		{connect, 1, 1},
		{carrel.Action{Operation: carrel.OpExec}, 1, 1},
		{carrel.Action{Operation: carrel.OpCredential}, 1, 1},
		{carrel.Action{Operation: carrel.OpApprove}, 1, 1},
		{carrel.Action{Operation: carrel.OpPublish}, 2, 0},
		{request("POST"), 1, 1}, {request("get"), 1, 1}, {request(""), 1, 1},
		{request("GET"), 0, 2}, {request("HEAD"), 0, 2}, {request("OPTIONS"), 0, 2},
		{carrel.Action{Operation: carrel.OpRead}, 0, 2},
		{carrel.Action{Operation: carrel.OpResolve}, 0, 2},
	} {
		log := &ways{}
		_, err := gate.New(always(carrel.Decision{Verdict: carrel.Allow}), gatetest.Nobody{}, log).Do(gone, c.action, func(context.Context, gate.Grant) (carrel.Outcome, error) {
			if c.durable > 0 && len(log.durable) != 1 || len(log.durable)+len(log.queued) != 1 {
				t.Errorf("%s %s: at its effect %v were durable, %v queued", c.action.Operation, c.action.Method, log.durable, log.queued)
			}
			return carrel.Outcome{}, nil
		})
		if err != nil || len(log.durable) != c.durable || len(log.queued) != c.queued {
			t.Errorf("%s %s: durable %v, queued %v, error %v", c.action.Operation, c.action.Method, log.durable, log.queued, err)
		}
	}
}

func TestUnrecordedRefusalStopsTheGate(t *testing.T) {
	g, log := gatetest.DenyAll()
	log.Fail = func(carrel.Record) error { return errors.New("disk full") }
	if _, err := try(g); !errors.Is(err, gate.ErrDenied) {
		t.Errorf("a refusal that cannot be recorded: %v", err)
	}
	if _, err := try(g); !errors.Is(err, gate.ErrStopped) {
		t.Errorf("the next action: %v", err)
	}
}

// K185: a denied operation in a loop fills neither the disk nor the memory.
func TestRefusalsInALoopAreCounted(t *testing.T) {
	g, log := gatetest.DenyAll()
	heard := 0
	g.OnRefusal = func(*gate.Refusal) { heard++ }
	for range 1000 {
		_, _ = try(g)
	}
	if err := g.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	records := log.Records()
	if len(records) != 2 || heard != 1000 {
		t.Fatalf("%d records, heard of %d", len(records), heard)
	}
	if total := int64(len(records)) + records[1].Repeats; total != 1000 {
		t.Errorf("the records account for %d refusals, want 1000", total)
	}
}

func TestDifferentRefusalsAreBounded(t *testing.T) {
	g, log := gatetest.DenyAll()
	const many = 12_000
	for port := range many {
		a := connect
		a.Port = port
		_, _ = g.Do(context.Background(), a, nil)
	}
	if err := g.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, r := range log.Records() {
		total += 1 + r.Repeats
	}
	if n := len(log.Records()); n > 10_010 || total != many {
		t.Errorf("%d records for %d refusals", n, total)
	}
}

func TestJudgeRecordsOnlyRefusals(t *testing.T) {
	g, log := gatetest.AllowAll()
	if d := g.Judge(context.Background(), connect); !d.Allows() || len(log.Records()) != 0 {
		t.Errorf("%v with %d records", d, len(log.Records()))
	}
	g, log = gatetest.DenyAll()
	if d := g.Judge(context.Background(), connect); d.Allows() || len(log.Records()) != 1 {
		t.Errorf("%v with %d records", d, len(log.Records()))
	}
	var none *gate.Gate
	if none.Judge(context.Background(), connect).Allows() {
		t.Error("a nil gate allows")
	}
}

func TestContractOfAnEffect(t *testing.T) {
	happened := false
	gatetest.Contract(t, gatetest.Effect{
		Name: "example", Action: connect,
		Call: func(_ context.Context, g gate.Grant) error {
			if err := g.Covers(connect); err != nil {
				return err
			}
			happened = true
			return nil
		},
		Happened: func() bool { return happened },
	})
}

// What is too large to be recorded is refused, and the refusal is recorded.
func TestActionTooLargeToRecordIsRefused(t *testing.T) {
	g, log := gatetest.AllowAll()
	a := connect
	a.URL = carrel.Text(strings.Repeat("\x01", 10_000))
	ran := false
	_, err := g.Do(context.Background(), a, func(context.Context, gate.Grant) (carrel.Outcome, error) {
		ran = true
		return carrel.Outcome{}, nil
	})
	if ran || !errors.Is(err, gate.ErrDenied) {
		t.Errorf("ran %v, error %v", ran, err)
	}
	records := log.Records()
	if len(records) != 1 || records[0].Kind != carrel.KindRefused {
		t.Fatalf("records %v", kinds(records))
	}
	if d, _ := records[0].Action.Digest(); d != records[0].ActionDigest {
		t.Error("the record's digest is not that of the action it shows")
	}
	if d := g.Judge(context.Background(), a); d.Allows() {
		t.Error("judged as allowed")
	}
}

func TestWordyPolicyIsCut(t *testing.T) {
	d := carrel.Decision{Verdict: carrel.Deny, Reason: "x" + strings.Repeat("é", 100_000), Rules: make([]string, 1000)}
	log := &gatetest.Log{}
	_, _ = try(gate.New(always(d), gatetest.Nobody{}, log))
	got := log.Records()[0].Decision
	if len(got.Reason) > 2100 || len(got.Rules) > 32 || !utf8.ValidString(got.Reason) {
		t.Errorf("%d bytes of reason, %d rules", len(got.Reason), len(got.Rules))
	}
}
