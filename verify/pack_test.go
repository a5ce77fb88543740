package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
)

// signingKey is a key made from a fixed number: only tests know what it signs.
func signingKey(t testing.TB, n byte) (*ecdsa.PrivateKey, PublicKey) {
	t.Helper()
	raw := make([]byte, 32)
	raw[31] = n
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		t.Fatal(err)
	}
	public, err := NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

// signed puts a payload into a bundle, always the same one (RFC 6979).
func signed(t testing.TB, private *ecdsa.PrivateKey, payload []byte) []byte {
	t.Helper()
	public, err := NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(PAE(payload))
	sig, err := private.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := Bundle{payload, sig, public.ID}.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// journal is a log in memory that grows as a real one does.
type journal struct {
	t     testing.TB
	lines [][]byte
	runs  int64
}

func (j *journal) add(r carrel.Record, numbered bool) int64 {
	j.t.Helper()
	n := len(j.lines)
	r.Version, r.ID, r.Boot = carrel.RecordVersion, fixtureID(n), int64(n)
	r.Time = time.Date(2026, 1, 2, 3, 4, 5, n*1000, time.UTC)
	if numbered {
		j.runs++
		r.RunSeq = j.runs
	}
	if r.Kind == carrel.KindRunEnd {
		r.RunInfo.Records = j.runs
	}
	line, err := carrel.Canonical(r)
	if err != nil {
		j.t.Fatal(err)
	}
	j.lines = append(j.lines, line)
	return int64(n)
}

// do adds an action's intent and result and returns the intent's index.
func (j *journal) do(a carrel.Action, approval *carrel.Approval, out carrel.Outcome, numbered bool) (intent, result int64) {
	j.t.Helper()
	a.ID = carrel.ActionID(fmt.Sprintf("act_01jd3m00000000000000000%02d0", len(j.lines)))
	digest, err := a.Digest()
	if err != nil {
		j.t.Fatal(err)
	}
	d := &carrel.Decision{Verdict: carrel.Allow, Rules: []string{"builtin/allow"}}
	if approval != nil {
		d.Verdict = carrel.Ask
	}
	intent = j.add(carrel.Record{Kind: carrel.KindIntent, Run: a.Run, Action: &a, ActionDigest: digest, Decision: d, Approval: approval}, numbered)
	out.Status = carrel.OutcomeDone
	result = j.add(carrel.Record{Kind: carrel.KindResult, Run: a.Run, Action: &carrel.Action{ID: a.ID, Run: a.Run, Operation: a.Operation}, ActionDigest: digest, Outcome: &out}, numbered)
	return intent, result
}

func (j *journal) checkpoint(size int64) []byte {
	j.t.Helper()
	var tree Tree
	for _, line := range j.lines[:size] {
		tree.Append(tlog.RecordHash(line), nil)
	}
	signer, _ := fixtureKeys(j.t, fixtureOrigin)
	raw, err := note.Sign(&note.Note{Text: Checkpoint{fixtureOrigin, size, tree.Root()}.Text()}, signer)
	if err != nil {
		j.t.Fatal(err)
	}
	return raw
}

func (j *journal) prove(index, size int64) Proof {
	j.t.Helper()
	p := fixtureProof(j.t, j.lines[:size], int(index))
	p.Checkpoint = j.checkpoint(size)
	return p
}

// announce adds the act of attesting payloads and returns them signed, with
// their proofs.
func (j *journal) announce(private *ecdsa.PrivateKey, subject string, statements ...Statement) []Attestation {
	j.t.Helper()
	public, err := NewPublicKey(&private.PublicKey)
	if err != nil {
		j.t.Fatal(err)
	}
	a := carrel.Action{Run: fixtureRun, Operation: carrel.OpAttest, Subject: subject, Attestation: &carrel.Attestation{Key: public.ID}}
	var payloads [][]byte
	for _, s := range statements {
		payload, err := s.Bytes()
		if err != nil {
			j.t.Fatal(err)
		}
		payloads = append(payloads, payload)
		a.Attestation.Statements = append(a.Attestation.Statements, carrel.Statement{Type: s.PredicateType, Digest: carrel.DigestBytes(payload)})
	}
	intent, _ := j.do(a, nil, carrel.Outcome{}, false)
	p := j.prove(intent, intent+1)
	p.Extra = j.lines[intent]
	var out []Attestation
	for _, payload := range payloads {
		out = append(out, Attestation{signed(j.t, private, payload), p.Bytes()})
	}
	return out
}

func statement(t testing.TB, predicateType string, subjects []Resource, predicate any) Statement {
	t.Helper()
	raw, err := carrel.Canonical(predicate)
	if err != nil {
		t.Fatal(err)
	}
	return Statement{StatementType, subjects, predicateType, raw}
}

const (
	fixtureChange = carrel.ChangeID("chg_01jd3m0000000000000000000g")
	fixtureCommit = "1111111111111111111111111111111111111111"
	fixtureTree   = "2222222222222222222222222222222222222222"
	fixtureBase   = "3333333333333333333333333333333333333333"
)

// story is a run with one change that was approved and went to a branch, and
// everything that was attested of it.
type story struct {
	journal
	info       carrel.RunInfo
	change     carrel.Change
	ref        carrel.ChangeRef
	manifest   []byte
	patch      []byte
	policy     []byte
	approval   carrel.Approval
	published  int64
	provenance Provenance
	trace      Trace
	result     Result
	subjects   []Resource
}

func newStory(t testing.TB) *story {
	t.Helper()
	s := &story{journal: journal{t: t}}
	s.policy = []byte(`{"evaluator":"opa","sources":[{"files":[{"digest":"` + string(carrel.DigestBytes([]byte("package a\n"))) + `","name":"a.rego"}]}]}`)
	s.info = carrel.RunInfo{
		Agent: "any", Command: []carrel.Text{"sh"}, User: "1000:u", BaseCommit: fixtureBase, Policy: carrel.DigestBytes(s.policy), Tier: "native", Version: "test",
		Program:     carrel.DigestBytes([]byte("sh")),
		Enforcement: []carrel.Enforcement{{Control: carrel.ControlFiles, Level: carrel.Enforced, How: "x"}, {Control: carrel.ControlDisk, Level: carrel.Partly, How: "y"}},
	}
	s.add(carrel.Record{Kind: carrel.KindLog, Note: "created"}, false)
	first := s.info
	first.Enforcement, first.Program = nil, ""
	s.add(carrel.Record{Kind: carrel.KindRunStart, Run: fixtureRun, RunInfo: &first}, true)
	s.do(carrel.Action{Run: fixtureRun, Operation: carrel.OpExec, Path: "/bin/sh", Argv: []carrel.Text{"sh"}}, nil, carrel.Outcome{}, true)
	connect := carrel.Action{Run: fixtureRun, Operation: carrel.OpConnect, Host: "api.example.test", Port: 443, Protocol: carrel.ProtoTLS}
	s.do(connect, nil, carrel.Outcome{}, true)
	digest, err := connect.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s.add(carrel.Record{Kind: carrel.KindRefused, Run: fixtureRun, Action: &connect, ActionDigest: digest, Decision: &carrel.Decision{Verdict: carrel.Deny, Rules: []string{"user/egress"}}, Repeats: 3}, true)
	s.freeze()
	last := s.info
	s.add(carrel.Record{Kind: carrel.KindRunEnd, Run: fixtureRun, RunInfo: &last}, true)
	s.publish()
	s.attest()
	return s
}

func (s *story) freeze() {
	s.patch = []byte("diff --git a/f b/f\n")
	s.change = carrel.Change{Version: 1, ID: fixtureChange, Run: fixtureRun, Workspace: "/w", Base: carrel.Base{Commit: fixtureBase, Branch: "main"},
		Files: []carrel.FileChange{{Path: "f", Change: carrel.Created, FileState: carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: 1, Digest: carrel.DigestBytes([]byte("x"))}, Before: carrel.FileState{Kind: carrel.FileNone}}},
		Risk:  carrel.Risk{Level: carrel.SeverityNone, Counts: map[string]int{}}}
	digest, err := s.change.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	if s.manifest, err = carrel.Canonical(s.change); err != nil {
		s.t.Fatal(err)
	}
	s.ref = carrel.ChangeRef{ID: fixtureChange, Digest: digest, Manifest: carrel.DigestBytes(s.manifest)}
	s.add(carrel.Record{Kind: carrel.KindChange, Run: fixtureRun, Change: &s.ref}, true)
}

func (s *story) publish() {
	a := carrel.Action{Run: fixtureRun, Operation: carrel.OpPublish, Publication: &carrel.Publication{
		Change: fixtureChange, Digest: s.ref.Digest, Target: carrel.TargetBranch, Files: 1, Risk: s.change.Risk}}
	digest, err := a.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	s.approval = carrel.Approval{Action: digest, Run: fixtureRun, Policy: s.info.Policy, Granted: true, By: "1000:u", Time: at, Expires: at.Add(time.Hour)}
	_, s.published = s.do(a, &s.approval, carrel.Outcome{Facts: map[string]carrel.Text{"branch": "b", "commit": fixtureCommit, "tree": fixtureTree}}, false)
}

func (s *story) attest() {
	s.subjects = []Resource{
		{Name: PatchFile, Digest: map[string]string{DigestSHA256: carrel.DigestBytes(s.patch).Hex()}},
		{Name: "commit", Digest: map[string]string{DigestCommit: fixtureCommit}},
		{Name: "tree", Digest: map[string]string{DigestTree: fixtureTree}},
	}
	_, key := fixtureKeys(s.t, fixtureOrigin)
	size := int64(len(s.lines))
	checkpoint := s.checkpoint(size)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := &s.provenance
	p.Build.BuildType = BuildType
	p.Build.External.Task.URI, p.Build.External.Task.Content = "urn:carrel:run:"+string(fixtureRun), "sh"
	p.Build.External.Target = Target{"https://git.example.test/p.git", "main", fixtureBase}
	p.Build.Internal = InternalParameters{
		Agent:     AgentParameters{Name: "any", Runtime: "test", Program: s.info.Program, User: "1000:u"},
		Sandbox:   SandboxParameters{Tier: "native", Policy: s.info.Policy, Controls: s.info.Enforcement, Grants: []carrel.Text{}, Complete: true},
		Change:    ChangeParameters{ID: fixtureChange, Digest: s.ref.Digest, Manifest: s.ref.Manifest, Target: carrel.TargetBranch, Branch: "b", Files: 1, Risk: carrel.SeverityNone},
		Approvals: []ApprovalParameter{{By: "1000:u", Time: s.approval.Time, Action: s.approval.Action}},
		Level:     LevelClaim{PropertyLevel1, "because"},
	}
	policy := Resource{Name: "policy", Digest: map[string]string{DigestSHA256: s.info.Policy.Hex()}}
	p.Build.Dependencies = []Resource{
		{Name: "base", Digest: map[string]string{DigestCommit: fixtureBase}}, policy,
		{Name: "agent", Digest: map[string]string{DigestSHA256: s.info.Program.Hex()}},
	}
	p.Run.Builder.ID, p.Run.Builder.Version = "https://github.com/carrel-dev/carrel/builder/native/v1", map[string]string{"carrel": "test"}
	p.Run.Metadata.Invocation, p.Run.Metadata.Started, p.Run.Metadata.Finished = string(fixtureRun), at, at
	root, _ := ParseCheckpoint(strings.SplitAfterN(string(checkpoint), "\n\n", 2)[0][:strings.Index(string(checkpoint), "\n\n")+1])
	s.trace.Log.Network = []Destination{{Operation: carrel.OpConnect, Host: "api.example.test", Port: 443, Protocol: carrel.ProtoTLS, Allowed: 1, Refused: 4}}
	s.trace.Log.Process = []TracedProcess{{Path: "/bin/sh", Argv: []carrel.Text{"sh"}, Verdict: carrel.Allow}}
	p.Run.Byproducts = []Resource{
		s.listing(ByproductNetwork, s.trace.Log.Network), s.listing(ByproductProcess, s.trace.Log.Process),
		{Name: ByproductFilesystem, Digest: map[string]string{DigestSHA256: s.ref.Manifest.Hex()}},
		{Name: ByproductCheckpoint, Content: checkpoint, Digest: map[string]string{DigestSHA256: carrel.DigestBytes(checkpoint).Hex()},
			Annotations: map[string]any{"key": key, "size": size, "root": base64.StdEncoding.EncodeToString(root.Root[:])}},
		{Name: ByproductRecord, Digest: map[string]string{DigestSHA256: carrel.DigestBytes(s.lines[s.published]).Hex()}, Annotations: map[string]any{"index": s.published}},
	}
	s.trace.Monitor.Type, s.trace.Monitor.Policy = "m", map[string]any{}
	s.trace.Process.Host, s.trace.Process.Type, s.trace.Process.Job = "h", BuildType, string(fixtureRun)
	s.trace.Monitor.Config, s.trace.Log.Files = policy, []Resource{}
	s.trace.Metadata.Started, s.trace.Metadata.Finished = at, at
	s.result.Verifier.ID, s.result.Verifier.Policies, s.result.Time = "g", []Resource{policy}, at
	s.result.Properties = []string{PropertyLevel1, PropertyTraceComplete, PropertyApproved, PropertyNothingDenied, PropertyTier + "NATIVE", PropertyEnforced + "FILES"}
}

// listing is a by-product that carries what it lists.
func (s *story) listing(name string, list any) Resource {
	content, err := carrel.Canonical(list)
	if err != nil {
		s.t.Fatal(err)
	}
	return Resource{Name: name, Content: content, Digest: map[string]string{DigestSHA256: carrel.DigestBytes(content).Hex()}}
}

// set signs the three statements as they are now.
func (s *story) set(private *ecdsa.PrivateKey) []Attestation {
	s.t.Helper()
	return s.announce(private, string(fixtureChange),
		statement(s.t, TypeProvenance, s.subjects, s.provenance), statement(s.t, TypeTrace, s.subjects, s.trace), statement(s.t, TypeVerification, s.subjects, s.result))
}

// pack packs the story as it is now.
func (s *story) pack(private *ecdsa.PrivateKey, set []Attestation) Pack {
	s.t.Helper()
	public, err := NewPublicKey(&private.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	_, logKey := fixtureKeys(s.t, fixtureOrigin)
	size := int64(len(s.lines))
	p := Pack{
		ReadmeFile: []byte("read me\n"), KeyFile: public.PEM(), LogKeyFile: []byte(logKey + "\n"), PackCheckpoint: s.checkpoint(size),
		ChangeFile: s.manifest, PatchFile: s.patch, PolicyFile: s.policy, PolicyName(carrel.DigestBytes([]byte("package a\n"))): []byte("package a\n"),
	}
	for i, name := range ChangeAttestations {
		if i < len(set) {
			p[name+BundleSuffix], p[name+ProofSuffix] = set[i].Bundle, set[i].Proof
		}
	}
	s.packRecords(p, size)
	s.seal(p, private)
	return p
}

func (s *story) packRecords(p Pack, size int64) {
	var lines, proofs bytes.Buffer
	var all []PackedRecord
	for i, line := range s.lines {
		r, err := Record(line)
		if err != nil {
			s.t.Fatal(err)
		}
		if r.Run != fixtureRun {
			continue
		}
		proof := RecordProof{Index: int64(i), Hashes: [][]byte{}}
		for _, h := range s.prove(int64(i), size).Hashes {
			proof.Hashes = append(proof.Hashes, bytes.Clone(h[:]))
		}
		encoded, err := carrel.Canonical(proof)
		if err != nil {
			s.t.Fatal(err)
		}
		lines.Write(append(bytes.Clone(line), '\n'))
		proofs.Write(append(encoded, '\n'))
		all = append(all, NewPackedRecord(int64(i), r))
	}
	var approvals bytes.Buffer
	for _, a := range Approvals(all) {
		encoded, err := carrel.Canonical(a)
		if err != nil {
			s.t.Fatal(err)
		}
		approvals.Write(append(encoded, '\n'))
	}
	p[RecordsFile], p[ProofsFile], p[ApprovalsFile] = lines.Bytes(), proofs.Bytes(), approvals.Bytes()
}

// seal signs the pack's list of files.
func (s *story) seal(p Pack, private *ecdsa.PrivateKey) {
	s.t.Helper()
	var err error
	if p[ManifestFile], err = carrel.Canonical(p.Manifest()); err != nil {
		s.t.Fatal(err)
	}
	_, logKey := fixtureKeys(s.t, fixtureOrigin)
	subject := []Resource{{Name: ManifestFile, Digest: map[string]string{DigestSHA256: carrel.DigestBytes(p[ManifestFile]).Hex()}}}
	sealed := s.announce(private, string(fixtureRun), statement(s.t, TypeEvidence, subject,
		Evidence{Run: fixtureRun, Change: fixtureChange, Created: time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC), Log: logKey}))
	p[ManifestName+BundleSuffix], p[ManifestName+ProofSuffix] = sealed[0].Bundle, sealed[0].Proof
}

func fixturePack(t testing.TB) (Pack, Trust) {
	t.Helper()
	private, public := signingKey(t, 1)
	_, logKey := fixtureKeys(t, fixtureOrigin)
	s := newStory(t)
	return s.pack(private, s.set(private)), Trust{[]PublicKey{public}, logKey}
}

func (p Pack) clone() Pack {
	out := Pack{}
	for name, b := range p {
		out[name] = bytes.Clone(b)
	}
	return out
}

func (p Pack) write(t testing.TB, dir string) {
	t.Helper()
	for name, b := range p {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPackVerifies(t *testing.T) {
	p, trust := fixturePack(t)
	for name, tr := range map[string]Trust{"trusted keys": trust, "its own keys": {}} {
		r, err := p.Check(tr)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Pinned != (len(tr.Keys) > 0) || !r.Complete || r.Commit != fixtureCommit || r.Set == nil || len(r.Proved) < 8 {
			t.Errorf("%s: %+v", name, r)
		}
		told := strings.Contains(strings.Join(r.Missing, "\n"), "whose key")
		if told == r.Pinned {
			t.Errorf("%s: whose key it is: %v", name, r.Missing)
		}
	}
}

// The vectors in spec/ are this pack, for programs in other languages.
func TestPackVectorsAreCurrent(t *testing.T) {
	dir := filepath.Join("..", "spec", "vectors", "evidence")
	p, trust := fixturePack(t)
	if *update {
		p.write(t, dir)
	}
	got, err := OpenPack(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name := range p {
		if !bytes.Equal(got[name], p[name]) {
			t.Errorf("spec/vectors/evidence/%s differs from what this release writes", name)
		}
	}
	if _, err := got.Check(trust); err != nil || len(got) != len(p) {
		t.Errorf("%d files, %v", len(got), err)
	}
}

// Whoever has a trusted key and the log cannot make the parts of a pack say
// different things.
func TestPackWithContradictionsIsRefused(t *testing.T) {
	for name, alter := range map[string]func(*story){
		"another tier":                 func(s *story) { s.provenance.Build.Internal.Sandbox.Tier = "vm" },
		"another policy":               func(s *story) { s.provenance.Build.Internal.Sandbox.Policy = carrel.DigestBytes(nil) },
		"another agent program":        func(s *story) { s.provenance.Build.Internal.Agent.Program = carrel.DigestBytes(nil) },
		"another base":                 func(s *story) { s.provenance.Build.External.Target.BaseCommit = fixtureCommit },
		"another change":               func(s *story) { s.provenance.Build.Internal.Change.Digest = carrel.DigestBytes(nil) },
		"another target":               func(s *story) { s.provenance.Build.Internal.Change.Target = carrel.TargetTree },
		"another run":                  func(s *story) { s.provenance.Run.Metadata.Invocation = string(otherRun) },
		"another build type":           func(s *story) { s.provenance.Build.BuildType += "x" },
		"no approval":                  func(s *story) { s.provenance.Build.Internal.Approvals = []ApprovalParameter{} },
		"another approver":             func(s *story) { s.provenance.Build.Internal.Approvals[0].By = "0:root" },
		"an approval of something":     func(s *story) { s.provenance.Build.Internal.Approvals[0].Action = carrel.DigestBytes(nil) },
		"a file that was denied":       func(s *story) { s.provenance.Build.Internal.Change.Withheld = 1 },
		"a loss":                       func(s *story) { s.provenance.Build.Internal.Sandbox.Lost = 1 },
		"no completeness":              func(s *story) { s.provenance.Build.Internal.Sandbox.Complete = false },
		"a control that was partly so": func(s *story) { s.result.Properties = append(s.result.Properties, PropertyEnforced+"DISK") },
		"a control that is not told":   func(s *story) { s.result.Properties = s.result.Properties[:5] },
		"another record":               func(s *story) { s.provenance.Run.Byproducts[4].Digest[DigestSHA256] = strings.Repeat("0", 64) },
		"a trace of another run":       func(s *story) { s.trace.Process.Job = string(otherRun) },
		"another commit":               func(s *story) { s.subjects[1].Digest[DigestCommit] = fixtureBase },
		"two commits": func(s *story) {
			s.subjects = append(s.subjects, Resource{Name: "commit", Digest: map[string]string{DigestCommit: fixtureBase}})
		},
		"another tier of the gate": func(s *story) { s.result.Properties[4] = PropertyTier + "VM" },
		"two tiers":                func(s *story) { s.result.Properties = append(s.result.Properties, PropertyTier+"VM") },
		"a higher level":           func(s *story) { s.provenance.Build.Internal.Level.Level = "SLSA_BUILD_LEVEL_3" },
		"a higher level everywhere": func(s *story) {
			s.provenance.Build.Internal.Level.Level, s.result.Properties[0] = "SLSA_BUILD_LEVEL_3", "SLSA_BUILD_LEVEL_3"
		},
		"another builder":             func(s *story) { s.provenance.Run.Builder.ID = "https://github.com/carrel-dev/carrel/builder/vm/v1" },
		"another task":                func(s *story) { s.provenance.Build.External.Task.URI = "urn:carrel:run:" + string(otherRun) },
		"another user":                func(s *story) { s.provenance.Build.Internal.Agent.User = "0:root" },
		"another grant":               func(s *story) { s.provenance.Build.Internal.Sandbox.Grants = []carrel.Text{"host x"} },
		"another branch of the base":  func(s *story) { s.provenance.Build.External.Target.BaseRef = "release" },
		"a lower risk":                func(s *story) { s.provenance.Build.Internal.Change.Risk = carrel.SeverityHigh },
		"fewer files":                 func(s *story) { s.provenance.Build.Internal.Change.Files = 0 },
		"another base to build from":  func(s *story) { s.provenance.Build.Dependencies[0].Digest[DigestCommit] = fixtureCommit },
		"another policy to build by":  func(s *story) { s.provenance.Build.Dependencies = s.provenance.Build.Dependencies[:1] },
		"another agent to build with": func(s *story) { s.provenance.Build.Dependencies[2].Digest[DigestSHA256] = strings.Repeat("0", 64) },
		"another policy of the gate":  func(s *story) { s.result.Verifier.Policies = []Resource{} },
		"another policy of the trace": func(s *story) { s.trace.Monitor.Config = Resource{Name: "policy"} },
		"a trace without network":     func(s *story) { s.trace.Log.Network = []Destination{} },
		"a trace without processes":   func(s *story) { s.trace.Log.Process = []TracedProcess{} },
		"nothing was refused": func(s *story) {
			s.trace.Log.Network[0].Refused = 0
			s.provenance.Run.Byproducts[0] = s.listing(ByproductNetwork, s.trace.Log.Network)
		},
		"nothing was reached": func(s *story) {
			s.trace.Log.Network = []Destination{}
			s.provenance.Run.Byproducts[0] = s.listing(ByproductNetwork, s.trace.Log.Network)
		},
		"another program was started": func(s *story) {
			s.trace.Log.Process[0].Path = "/bin/true"
			s.provenance.Run.Byproducts[1] = s.listing(ByproductProcess, s.trace.Log.Process)
		},
		"another digest of a list": func(s *story) { s.provenance.Run.Byproducts[0].Digest[DigestSHA256] = strings.Repeat("0", 64) },
		"another list of files":    func(s *story) { s.provenance.Run.Byproducts[2].Digest[DigestSHA256] = strings.Repeat("0", 64) },
		"another size of the log":  func(s *story) { s.provenance.Run.Byproducts[3].Annotations["size"] = 1 },
		"another root of the log":  func(s *story) { s.provenance.Run.Byproducts[3].Annotations["root"] = "AAAA" },
		"a checkpoint by nobody":   func(s *story) { s.provenance.Run.Byproducts[3].Annotations["key"] = "x" },
		"another index of the log": func(s *story) { s.provenance.Run.Byproducts[4].Annotations["index"] = 0 },
		"no by-products":           func(s *story) { s.provenance.Run.Byproducts = s.provenance.Run.Byproducts[:1] },
		"a by-product twice": func(s *story) {
			s.provenance.Run.Byproducts = append(s.provenance.Run.Byproducts, s.provenance.Run.Byproducts[0])
		},
		"another patch":             func(s *story) { s.patch = []byte("other\n") },
		"no commit":                 func(s *story) { s.subjects = s.subjects[:1] },
		"a change not ours":         func(s *story) { s.manifest = bytes.Replace(s.manifest, []byte(`"mode":420`), []byte(`"mode":493`), 1) },
		"a policy not ours":         func(s *story) { s.policy = append(s.policy, '\n') },
		"another reason to approve": func(s *story) { s.provenance.Build.Internal.Approvals[0].Reason = "looked at every line" },
		"an approval at a terminal": func(s *story) { s.provenance.Build.Internal.Approvals[0].Terminal = true },
		"another branch":            func(s *story) { s.provenance.Build.Internal.Change.Branch = "release" },
		"files left out":            func(s *story) { s.provenance.Build.Internal.Change.Left = 1 },
		"a property nobody knows":   func(s *story) { s.result.Properties = append(s.result.Properties, "SLSA_BUILD_LEVEL_3") },
		"a property twice":          func(s *story) { s.result.Properties = append(s.result.Properties, PropertyApproved) },
		"a commit that is not applied": func(s *story) {
			s.provenance.Build.Internal.Change.Target, s.provenance.Build.Internal.Change.Branch = "none", ""
		},
		"a subject of another kind": func(s *story) {
			s.subjects = append(s.subjects, Resource{Name: "commit", Digest: map[string]string{"sha1": fixtureBase}})
		},
		"a subject of two kinds": func(s *story) { s.subjects[1].Digest["sha1"] = fixtureBase },
		"a commit that is empty": func(s *story) {
			s.subjects = append(s.subjects, Resource{Name: "x", Digest: map[string]string{"gitTag": ""}})
		},
	} {
		private, _ := signingKey(t, 1)
		s := newStory(t)
		alter(s)
		if r, err := s.pack(private, s.set(private)).Check(Trust{}); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Records may be left out by whoever packs, and then the pack says so or fails.
func TestPackWithRecordsLeftOut(t *testing.T) {
	private, _ := signingKey(t, 1)
	count := len(bytes.Split(newStory(t).pack(private, nil)[RecordsFile], []byte("\n"))) - 1
	for drop := range count {
		s := newStory(t)
		p := s.pack(private, s.set(private))
		for _, name := range []string{RecordsFile, ProofsFile} {
			lines := bytes.SplitAfter(p[name], []byte("\n"))
			p[name] = bytes.Join(append(append([][]byte{}, lines[:drop]...), lines[drop+1:]...), nil)
		}
		s.seal(p, private)
		if r, err := p.Check(Trust{}); err == nil && r.Complete {
			// What comes after the run's end nobody counts; nothing before may go.
			if !strings.Contains(strings.Join(r.Missing, "\n"), "after it had ended") {
				t.Errorf("without record %d: %+v", drop, r)
			}
			if drop <= 5 {
				t.Errorf("without record %d of the run it is called complete", drop)
			}
		}
	}
}

// Whoever has the log's key can sign two pasts of it. Where both are in one pack
// they are found, as far as they can be compared.
func TestPackOfTwoPasts(t *testing.T) {
	private, _ := signingKey(t, 1)
	for name, fork := range map[string]func(s *story){
		"as many records, one of them another": func(s *story) {
			s.lines = s.lines[:len(s.lines)-1]
			s.lines[0] = bytes.Replace(s.lines[0], []byte("created"), []byte("cheated"), 1)
		},
		"what was announced is another": func(s *story) {
			i := len(s.lines) - 2
			s.lines[i] = bytes.Replace(s.lines[i], []byte(`"boot_us":`), []byte(`"boot_us":1`), 1)
		},
		"nothing": func(*story) {},
	} {
		s := newStory(t)
		set := s.set(private)
		fork(s)
		if _, err := s.pack(private, set).Check(Trust{}); (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPackBySomebodyElse(t *testing.T) {
	p, trust := fixturePack(t)
	_, other := signingKey(t, 2)
	_, otherLog := fixtureKeys(t, "carrel.local/log/other")
	if _, err := p.Check(Trust{Keys: []PublicKey{other}}); err == nil {
		t.Error("a key that is not trusted")
	}
	if _, err := p.Check(Trust{Keys: trust.Keys, Log: otherLog}); err == nil {
		t.Error("a log that is not trusted")
	}
	if _, err := p.Check(Trust{Keys: []PublicKey{other, trust.Keys[0]}, Log: trust.Log}); err != nil {
		t.Errorf("one of two trusted keys: %v", err)
	}
	// All of it made anew by another key, with the trusted key's file.
	mallory, _ := signingKey(t, 2)
	s := newStory(t)
	forged := s.pack(mallory, s.set(mallory))
	forged[KeyFile] = trust.Keys[0].PEM()
	s.seal(forged, mallory)
	if r, err := forged.Check(trust); err == nil {
		t.Errorf("signed by another key than it says: %+v", r)
	}
}
