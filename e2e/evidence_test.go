//go:build linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	svr "github.com/in-toto/attestation/go/predicates/svr/v01"
	intoto "github.com/in-toto/attestation/go/v1"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/carrel-dev/carrel/internal/needs"
)

// checkers returns where the programs are that check evidence and are not
// ours.
func checkers(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("../.ci/checkers")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		needs.Missing(t, "cosign and @sigstore/verify", fmt.Errorf("%w: %s", err, said.String()))
	}
	return strings.TrimSpace(string(out))
}

// predicates are the attestations of a pack and their types.
var predicates = map[string]string{
	"provenance":   "https://slsa.dev/provenance/v1",
	"trace":        "https://in-toto.io/attestation/runtime-trace/v0.1",
	"verification": "https://in-toto.io/attestation/svr/v0.2",
}

// packed runs an agent, applies what it made, and packs the evidence.
func packed(t *testing.T) (h *host, dir string) {
	h = asUser(t)
	h.inside("echo package x > x.go; printf '\\000\\001' > x.bin; echo more >> README.md")
	h.must("review", "--no-pager")
	h.must("approve", "--reason", "checked by others")
	h.must("apply", "--branch", "work")
	dir = filepath.Join(h.dir, "evidence")
	h.must("evidence", "latest", "-o", dir)
	h.must("verify", dir)
	return h, dir
}

// wrong alters a bundle in a way that a verifier must notice, and returns the
// altered copy's path.
func wrong(t *testing.T, bundle string, alter func(m map[string]any)) string {
	t.Helper()
	raw, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	alter(m)
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(bundle))
	if err := os.WriteFile(path, out, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func envelope(m map[string]any) map[string]any { return m["dsseEnvelope"].(map[string]any) }

// otherPayload leaves the signature and changes one byte of what is signed.
func otherPayload(m map[string]any) {
	raw, _ := base64.StdEncoding.DecodeString(envelope(m)["payload"].(string))
	envelope(m)["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(raw, []byte("COWORK"), []byte("C0WORK"), 1))
	if bytes.Equal(raw, bytes.Replace(raw, []byte("COWORK"), []byte("C0WORK"), 1)) {
		envelope(m)["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(raw, []byte(`"sha256":"`), []byte(`"sha256":"0`), 1))
	}
}

func otherSignature(m map[string]any) {
	sig := envelope(m)["signatures"].([]any)[0].(map[string]any)
	raw, _ := base64.StdEncoding.DecodeString(sig["sig"].(string))
	raw[len(raw)-1] ^= 1
	sig["sig"] = base64.StdEncoding.EncodeToString(raw)
}

func otherType(m map[string]any) { envelope(m)["payloadType"] = "application/json" }

func TestCosignVerifiesTheEvidence(t *testing.T) {
	bin := checkers(t)
	_, dir := packed(t)
	cosign := func(bundle, predicate, file string) error {
		cmd := exec.Command(filepath.Join(bin, "cosign"), "verify-blob-attestation", "--key", "attestation.pub", "--bundle", bundle,
			"--type", predicate, "--check-claims=true", "--private-infrastructure", file)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	for name, predicate := range predicates {
		bundle := filepath.Join(dir, name+".sigstore.json")
		if err := cosign(bundle, predicate, "change.patch"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, err := range map[string]error{
			"another file":         cosign(bundle, predicate, "change.json"),
			"another type":         cosign(bundle, "https://slsa.dev/provenance/v0.2", "change.patch"),
			"another payload":      cosign(wrong(t, bundle, otherPayload), predicate, "change.patch"),
			"another signature":    cosign(wrong(t, bundle, otherSignature), predicate, "change.patch"),
			"another payload type": cosign(wrong(t, bundle, otherType), predicate, "change.patch"),
		} {
			if err == nil {
				t.Errorf("%s: cosign verifies %s", name, what)
			}
		}
	}
	runReadme(t, dir, bin)
}

// runReadme runs the commands of cosign that the pack's README names, as they
// stand there.
func runReadme(t *testing.T, dir, bin string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^    (cosign [^\n]*\\\n[^\n]*)$`).FindAllStringSubmatch(string(text), -1)
	if len(commands) != len(predicates) {
		t.Errorf("the README names %d commands of cosign", len(commands))
	}
	for _, c := range commands {
		cmd := exec.Command("sh", "-c", c[1])
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", c[1], err, out)
		}
	}
}

// checkBundle is a small user of the JavaScript library.
const checkBundle = `
const fs = require('node:fs'), crypto = require('node:crypto');
const [dir, keyFile, bundleFile] = process.argv.slice(2);
const need = require('node:module').createRequire(dir + '/');
const { bundleFromJSON } = need('@sigstore/bundle');
const { Verifier, toSignedEntity } = need('@sigstore/verify');
const key = crypto.createPublicKey(fs.readFileSync(keyFile));
const hint = 'sha256:' + crypto.createHash('sha256').update(key.export({ type: 'spki', format: 'der' })).digest('hex');
const trust = {
  certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [],
  publicKey: (asked) => {
    if (asked !== hint) throw new Error('signed by key ' + asked);
    return { publicKey: key, validFor: () => true };
  },
};
const verifier = new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });
verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(fs.readFileSync(bundleFile)))));
`

func TestSigstoreInJavaScriptVerifiesTheEvidence(t *testing.T) {
	needs.Tool(t, "node")
	modules := checkers(t)
	_, dir := packed(t)
	script := filepath.Join(t.TempDir(), "check.cjs")
	if err := os.WriteFile(script, []byte(checkBundle), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(bundle string) error {
		out, err := exec.Command("node", script, modules, filepath.Join(dir, "attestation.pub"), bundle).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	for _, name := range []string{"provenance", "trace", "verification", "manifest"} {
		bundle := filepath.Join(dir, name+".sigstore.json")
		if err := check(bundle); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, alter := range map[string]func(map[string]any){
			"another payload": otherPayload, "another signature": otherSignature, "another payload type": otherType,
			"another key": func(m map[string]any) {
				m["verificationMaterial"].(map[string]any)["publicKey"].(map[string]any)["hint"] = "x"
			},
			"two signatures": func(m map[string]any) {
				sigs := envelope(m)["signatures"].([]any)
				envelope(m)["signatures"] = append(sigs, sigs[0])
			},
		} {
			if check(wrong(t, bundle, alter)) == nil {
				t.Errorf("%s: the library verifies %s", name, what)
			}
		}
	}
}

// dsse returns the bytes that a bundle's signature is over, and the signature,
// read without Carrel's code.
func dsse(t *testing.T, bundle string) (message, payload, signature []byte) {
	t.Helper()
	raw, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		DSSE struct {
			Payload     []byte
			PayloadType string
			Signatures  []struct{ Sig []byte }
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(raw, &b); err != nil || len(b.DSSE.Signatures) != 1 {
		t.Fatalf("%s: %v", bundle, err)
	}
	message = fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(b.DSSE.PayloadType), b.DSSE.PayloadType, len(b.DSSE.Payload), b.DSSE.Payload)
	return message, b.DSSE.Payload, b.DSSE.Signatures[0].Sig
}

func TestOpensslVerifiesTheEvidence(t *testing.T) {
	needs.Tool(t, "openssl")
	_, dir := packed(t)
	check := func(message, signature []byte) bool {
		temp := t.TempDir()
		for name, content := range map[string][]byte{"message": message, "signature": signature} {
			if err := os.WriteFile(filepath.Join(temp, name), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("openssl", "dgst", "-sha256", "-verify", filepath.Join(dir, "attestation.pub"), "-signature", "signature", "message")
		cmd.Dir = temp
		return cmd.Run() == nil
	}
	for _, name := range []string{"provenance", "trace", "verification", "manifest"} {
		message, payload, signature := dsse(t, filepath.Join(dir, name+".sigstore.json"))
		if !check(message, signature) {
			t.Errorf("%s: openssl refuses the signature", name)
		}
		if check(payload, signature) {
			t.Errorf("%s: the payload alone is signed, without its type", name)
		}
		message[len(message)-2] ^= 1
		if check(message, signature) {
			t.Errorf("%s: another message verifies", name)
		}
	}
}

// strictly decodes with the field's own types, which know every member or fail.
func strictly(t *testing.T, raw []byte, into proto.Message) {
	t.Helper()
	if err := (protojson.UnmarshalOptions{}).Unmarshal(raw, into); err != nil {
		t.Errorf("%T: %v", into, err)
	}
}

func TestInTotoTypesReadTheStatements(t *testing.T) {
	_, dir := packed(t)
	statements := map[string]*intoto.Statement{}
	for name, predicate := range predicates {
		_, payload, _ := dsse(t, filepath.Join(dir, name+".sigstore.json"))
		s := &intoto.Statement{}
		strictly(t, payload, s)
		if err := s.Validate(); err != nil || s.PredicateType != predicate {
			t.Errorf("%s: %s, %v", name, s.PredicateType, err)
		}
		statements[name] = s
		unknown := bytes.Replace(payload, []byte(`"_type"`), []byte(`"extra":1,"_type"`), 1)
		if err := (protojson.UnmarshalOptions{}).Unmarshal(unknown, &intoto.Statement{}); err == nil {
			t.Error("an unknown member was not noticed")
		}
	}
	predicate := func(name string, without ...string) []byte {
		m := statements[name].Predicate.AsMap()
		for _, path := range without {
			outer, inner, _ := strings.Cut(path, ".")
			delete(m[outer].(map[string]any), inner)
		}
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	p := &provenance.Provenance{}
	strictly(t, predicate("provenance"), p)
	if err := p.Validate(); err != nil {
		t.Errorf("provenance: %v", err)
	}
	// The types are of version 0.1; 0.2 adds the policies.
	result := &svr.SimpleVerificationResult{}
	strictly(t, predicate("verification", "verifier.policies"), result)
	if len(result.Properties) < 5 || result.Verifier.GetId() == "" || result.TimeCreated.AsTime().IsZero() {
		t.Errorf("verification: %v", result)
	}
	files := statements["trace"].Predicate.AsMap()["monitorLog"].(map[string]any)["fileAccess"].([]any)
	if len(files) != 3 {
		t.Errorf("the trace lists %d files", len(files))
	}
	for _, f := range files {
		raw, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		r := &intoto.ResourceDescriptor{}
		strictly(t, raw, r)
		if err := r.Validate(); err != nil {
			t.Errorf("trace: %s: %v", r.Name, err)
		}
	}
}

// The proofs are checked as any client of such logs would.
func TestTlogClientChecksTheProofs(t *testing.T) {
	_, dir := packed(t)
	key, err := os.ReadFile(filepath.Join(dir, "log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"provenance", "trace", "verification", "manifest"} {
		raw, err := os.ReadFile(filepath.Join(dir, name+".tlog-proof"))
		if err != nil {
			t.Fatal(err)
		}
		head, signed, _ := strings.Cut(string(raw), "\n\n")
		lines := strings.Split(head, "\n")
		record, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
		if err != nil || lines[0] != "c2sp.org/tlog-proof@v1" {
			t.Fatalf("%s: %v", lines[0], err)
		}
		index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		var hashes tlog.RecordProof
		for _, l := range lines[3:] {
			h, err := tlog.ParseHash(l)
			if err != nil {
				t.Fatal(err)
			}
			hashes = append(hashes, h)
		}
		n, err := note.Open([]byte(signed), note.VerifierList(verifier))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := strings.Split(n.Text, "\n")
		size, err := strconv.ParseInt(text[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		root, err := tlog.ParseHash(text[2])
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(hashes, size, root, index, tlog.RecordHash(record)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := tlog.CheckRecord(hashes, size, root, index, tlog.RecordHash(append(record, ' '))); err == nil {
			t.Errorf("%s: another record is proved as well", name)
		}
		_, payload, _ := dsse(t, filepath.Join(dir, name+".sigstore.json"))
		if !bytes.Contains(record, fmt.Appendf(nil, "sha256:%x", sha256.Sum256(payload))) {
			t.Errorf("%s: the record does not name the statement", name)
		}
	}
}
