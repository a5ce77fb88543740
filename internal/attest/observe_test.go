package attest

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

const (
	someRun    = carrel.RunID("run_01jd3m0000000000000000000g")
	someChange = carrel.ChangeID("chg_01jd3m0000000000000000000g")
)

// recorded is a run with one connection, two refusals, a change and its
// publication.
func recorded() []carrel.Record {
	info := carrel.RunInfo{Agent: "any", Tier: "native", Policy: carrel.DigestBytes(nil)}
	end := info
	end.Records = 7
	end.Enforcement = []carrel.Enforcement{
		{Control: carrel.ControlFiles, Level: carrel.Enforced},
		{Control: carrel.ControlNetwork, Level: carrel.Enforced}, {Control: carrel.ControlNetwork, Level: carrel.Partly},
	}
	connect := carrel.Action{ID: "act_1", Run: someRun, Operation: carrel.OpConnect, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS}
	evil := carrel.Action{ID: "act_2", Run: someRun, Operation: carrel.OpConnect, Host: "evil.test", Port: 443, Protocol: carrel.ProtoTLS}
	exec := carrel.Action{ID: "act_3", Run: someRun, Operation: carrel.OpExec, Path: "/bin/sh", Argv: []carrel.Text{"sh"}}
	publish := carrel.Action{ID: "act_4", Run: someRun, Operation: carrel.OpPublish, Publication: &carrel.Publication{Change: someChange, Target: carrel.TargetBranch}}
	done := func(facts map[string]carrel.Text) *carrel.Outcome {
		return &carrel.Outcome{Status: carrel.OutcomeDone, Facts: facts, Counts: map[string]int64{"left_out": 2}}
	}
	return []carrel.Record{
		{Kind: carrel.KindRunStart, RunSeq: 1, RunInfo: &info},
		{Kind: carrel.KindIntent, RunSeq: 2, Action: &exec},
		{Kind: carrel.KindIntent, RunSeq: 3, Action: &connect},
		{Kind: carrel.KindRefused, RunSeq: 4, Action: &evil},
		{Kind: carrel.KindRefused, RunSeq: 5, Action: &evil, Repeats: 3},
		{Kind: carrel.KindChange, RunSeq: 6, Change: &carrel.ChangeRef{ID: someChange}},
		{Kind: carrel.KindRunEnd, RunSeq: 7, RunInfo: &end},
		{Kind: carrel.KindIntent, Action: &publish, Approval: &carrel.Approval{By: "1000:u", Granted: true}},
		{Kind: carrel.KindResult, Action: &carrel.Action{ID: "act_4"}, Outcome: done(map[string]carrel.Text{"commit": "c", "tree": "t", "branch": "b"})},
	}
}

func logged(records []carrel.Record) iter.Seq2[Logged, error] {
	return func(yield func(Logged, error) bool) {
		for i, r := range records {
			r.Run, r.Time = someRun, time.Unix(int64(i+1), 0).UTC()
			if !yield(Logged{Index: int64(i + 10), Record: r, Raw: []byte{byte(i)}}, nil) {
				return
			}
		}
	}
}

func observed(t *testing.T, alter func(r []carrel.Record) []carrel.Record) *Observed {
	t.Helper()
	o, err := Observe(someRun, someChange, logged(alter(recorded())))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func same(r []carrel.Record) []carrel.Record { return r }

func TestObserveCountsWhatTheRecordsSay(t *testing.T) {
	o := observed(t, same)
	if why := o.Incomplete(); why != "" {
		t.Errorf("incomplete: %s", why)
	}
	want := []verify.Destination{
		{Operation: carrel.OpConnect, Host: "evil.test", Port: 443, Protocol: carrel.ProtoTLS, Refused: 5},
		{Operation: carrel.OpConnect, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS, Allowed: 1},
	}
	if !slices.Equal(o.Destinations, want) {
		t.Errorf("%+v", o.Destinations)
	}
	if len(o.Processes) != 1 || o.Publication == nil || o.Publication.Index != 18 || o.Target != carrel.TargetBranch || o.Approval == nil || o.Approval.By != "1000:u" {
		t.Errorf("%+v", o)
	}
}

// A trace calls itself complete only if nothing can be missing.
func TestIncompleteTraces(t *testing.T) {
	for name, alter := range map[string]func(r []carrel.Record) []carrel.Record{
		"a record is missing":        func(r []carrel.Record) []carrel.Record { return slices.Delete(r, 2, 3) },
		"the last one is missing":    func(r []carrel.Record) []carrel.Record { return slices.Delete(r, 6, 7) },
		"another count":              func(r []carrel.Record) []carrel.Record { r[6].RunInfo.Records = 8; return r },
		"packets were dropped":       func(r []carrel.Record) []carrel.Record { r[6].RunInfo.Lost = 1; return r },
		"more than can be listed":    func(r []carrel.Record) []carrel.Record { return crowded(r, 2001) },
		"a record twice":             func(r []carrel.Record) []carrel.Record { return slices.Insert(r, 3, r[2]) },
		"going on after its own end": func(r []carrel.Record) []carrel.Record { r[7].RunSeq = 8; return r },
	} {
		if o := observed(t, alter); o.Incomplete() == "" {
			t.Errorf("%s: it is called complete", name)
		}
	}
	if o := observed(t, func(r []carrel.Record) []carrel.Record { return crowded(r, 500) }); o.Incomplete() != "" || len(o.Destinations) != 502 {
		t.Errorf("many destinations: %d, %s", len(o.Destinations), o.Incomplete())
	}
}

// crowded adds as many different refusals, numbered.
func crowded(r []carrel.Record, n int) []carrel.Record {
	var more []carrel.Record
	for i := range n {
		a := carrel.Action{Operation: carrel.OpConnect, Host: strings.Repeat("x", i%60+1) + ".test", Port: i/60 + 1}
		more = append(more, carrel.Record{Kind: carrel.KindRefused, RunSeq: int64(7 + i), Action: &a})
	}
	r = slices.Insert(r, 6, more...)
	end := *r[6+n].RunInfo
	end.Records = int64(7 + n)
	r[6+n].RunInfo, r[6+n].RunSeq = &end, int64(7+n)
	return r
}

func TestObserveRefusesOtherRecords(t *testing.T) {
	foreign := func(yield func(Logged, error) bool) {
		yield(Logged{Record: carrel.Record{Kind: carrel.KindRunStart, Run: "run_other", RunInfo: &carrel.RunInfo{}}}, nil)
	}
	broken := func(yield func(Logged, error) bool) { yield(Logged{}, errors.New("damaged")) }
	for name, records := range map[string]iter.Seq2[Logged, error]{
		"none": logged(nil), "no beginning": logged(recorded()[1:]), "another run's": foreign, "damaged ones": broken,
	} {
		if o, err := Observe(someRun, someChange, records); err == nil {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// A publication that failed, is unknown, or is of another change is none.
func TestOnlyWhatWasPublishedIsSaidToBe(t *testing.T) {
	for name, alter := range map[string]func(r []carrel.Record) []carrel.Record{
		"failed":            func(r []carrel.Record) []carrel.Record { r[8].Outcome.Status = carrel.OutcomeFailed; return r },
		"unknown":           func(r []carrel.Record) []carrel.Record { return r[:8] },
		"of another change": func(r []carrel.Record) []carrel.Record { r[7].Action.Publication.Change = "chg_other"; return r },
		"of another action": func(r []carrel.Record) []carrel.Record { r[8].Action.ID = "act_5"; return r },
	} {
		if o := observed(t, alter); o.Publication != nil || o.Approval != nil || o.Target != "" {
			t.Errorf("%s: %+v", name, o.Publication)
		}
	}
}

func facts(o *Observed, c *carrel.Change) *Facts {
	digest := carrel.DigestBytes([]byte("x"))
	return &Facts{Observed: o, Change: c, Digest: digest, Manifest: digest, Patch: []byte("p"), Repository: "r", LogKey: "origin+1+x", Version: "v", Now: time.Unix(99, 0).UTC()}
}

func read[T any](t *testing.T, u Unsigned) T {
	t.Helper()
	var v T
	s, err := verify.ParseStatement(u.Payload)
	if err == nil {
		err = s.Read(u.Type, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestStatementsSayWhatIsKnown(t *testing.T) {
	change := &carrel.Change{ID: someChange, Base: carrel.Base{Commit: "b", Branch: "main"}, Files: []carrel.FileChange{
		{Path: "a\xff", Change: carrel.Created, FileState: carrel.FileState{Kind: carrel.FileRegular, Digest: carrel.DigestBytes(nil)}},
		{Path: "l", Change: carrel.Created, FileState: carrel.FileState{Kind: carrel.FileLink, Target: "a"}},
		{Path: "d", Change: carrel.Deleted, FileState: carrel.FileState{Kind: carrel.FileNone}},
	}}
	statements, err := facts(observed(t, same), change).Statements()
	if err != nil || len(statements) != 3 {
		t.Fatal(err)
	}
	p := read[verify.Provenance](t, statements[0])
	if p.Build.Internal.Change.Target != carrel.TargetBranch || p.Build.Internal.Change.Left != 2 || len(p.Build.Internal.Approvals) != 1 || !p.Build.Internal.Sandbox.Complete {
		t.Errorf("%+v", p.Build.Internal)
	}
	s, err := verify.ParseStatement(statements[0].Payload)
	if err != nil || s.Covers(map[string]string{verify.DigestCommit: "c", verify.DigestTree: "t"}) != nil {
		t.Errorf("subjects: %+v, %v", s.Subject, err)
	}
	r := read[verify.Result](t, statements[2])
	for property, want := range map[string]bool{
		verify.PropertyTraceComplete: true, verify.PropertyApproved: true, verify.PropertyNothingDenied: true,
		verify.PropertyEnforced + "FILES": true, verify.PropertyEnforced + "NETWORK": false, verify.PropertyTier + "NATIVE": true,
	} {
		if slices.Contains(r.Properties, property) != want {
			t.Errorf("%s: %v", property, r.Properties)
		}
	}
	if tr := read[verify.Trace](t, statements[1]); len(tr.Log.Files) != 3 || len(tr.Log.Network) != 2 {
		t.Errorf("%+v", tr.Log)
	}
}

// What is not so is not claimed.
func TestStatementsClaimNoMore(t *testing.T) {
	change := &carrel.Change{ID: someChange, Withheld: []carrel.FileChange{{Path: "x"}}}
	o := observed(t, func(r []carrel.Record) []carrel.Record { return slices.Delete(r, 2, 3)[:6] })
	statements, err := facts(o, change).Statements()
	if err != nil {
		t.Fatal(err)
	}
	r := read[verify.Result](t, statements[2])
	for _, property := range []string{verify.PropertyTraceComplete, verify.PropertyApproved, verify.PropertyNothingDenied} {
		if slices.Contains(r.Properties, property) {
			t.Errorf("%s is claimed", property)
		}
	}
	p := read[verify.Provenance](t, statements[0])
	if p.Build.Internal.Change.Target != verify.TargetNone || p.Build.Internal.Sandbox.Complete || p.Build.Internal.Sandbox.Reason == "" {
		t.Errorf("%+v", p.Build.Internal)
	}
}

// An agent chooses what it starts, where it connects and how its files are
// called. None of it makes a statement that nobody can read any more.
func TestWordsOfTheAgentFitIntoStatements(t *testing.T) {
	for name, word := range map[string]string{
		"long": strings.Repeat("x", 4000), "control": strings.Repeat("\x01", 4000), "braces": strings.Repeat("{", 4000), "bytes": strings.Repeat("\xff", 4000),
	} {
		change := &carrel.Change{ID: someChange}
		for i := range 2000 {
			change.Files = append(change.Files, carrel.FileChange{Path: carrel.Text(fmt.Sprint(word, i)), Change: carrel.Created, FileState: carrel.FileState{Kind: carrel.FileLink}})
		}
		o := observed(t, func(r []carrel.Record) []carrel.Record {
			for i := range 400 {
				id := carrel.ActionID(fmt.Sprint("act_x", i))
				r = append(r, carrel.Record{Kind: carrel.KindIntent, Action: &carrel.Action{ID: id, Operation: carrel.OpExec, Argv: []carrel.Text{carrel.Text(word), carrel.Text(word), carrel.Text(word), "\xff"}}},
					carrel.Record{Kind: carrel.KindRefused, Action: &carrel.Action{ID: id, Operation: carrel.OpResolve, Host: strings.ToValidUTF8(fmt.Sprint(word, i), "?")}})
			}
			return r
		})
		statements, err := facts(o, change).Statements()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, s := range statements {
			raw, err := verify.Bundle{Payload: s.Payload, Key: carrel.DigestBytes(nil)}.Bytes()
			if err == nil {
				_, err = verify.ParseBundle(raw)
			}
			if err != nil {
				t.Errorf("%s words: a statement of type %s: %v", name, s.Type, err)
			}
		}
		if o.Omitted == 0 || o.Incomplete() == "" {
			t.Errorf("%s words: the trace is called complete", name)
		}
	}
}
