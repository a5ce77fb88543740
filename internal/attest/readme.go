package attest

import (
	"strings"

	"github.com/carrel-dev/carrel/verify"
)

// readme is the text of a pack's README. Lines that begin with "change:" or
// "attested:" are for packs that have a change, or its attestations.
const readme = `# Evidence of one run of an agent

Everything here was written by Carrel (https://github.com/carrel-dev/carrel) about one run of one agent at one walled desk. It can be
checked without Carrel, without a network and without asking anybody.

| file | holds |
|---|---|
| manifest.json | every other file, with its size and SHA-256; itself signed: manifest.sigstore.json |
| records.jsonl | the records of the run, one a line, as the log has them |
| records.proofs.jsonl | for each of them its index in the log and the hashes up to the root of checkpoint |
| checkpoint | size and root of the log, signed with log.vkey (C2SP checkpoint, Ed25519) |
| approvals.jsonl | people's answers that something was done on |
| policy/ | sources.json, whose SHA-256 is the digest of the policy, and its sources by digest |
change:| change.json, change.patch | what the run changed: the frozen manifest, and a patch for git apply |
attested:| provenance.sigstore.json | SLSA provenance v1 of the change, in a Sigstore bundle with DSSE, ECDSA P-256 |
attested:| trace.sigstore.json | in-toto runtime trace: what was seen of the run from outside |
attested:| verification.sigstore.json | in-toto simple verification result: what the gate enforced |
| *.tlog-proof | proof that the log announced the statement before it was signed (C2SP tlog-proof; extra is the record) |
| attestation.pub, log.vkey | the public keys. They prove nothing by lying here: compare them with ones you got another way |

## With Carrel

    carrel verify .
    carrel verify . --key TRUSTED/attestation.pub --log-key TRUSTED/log.vkey
attested:
attested:## With cosign
attested:
attested:    cosign verify-blob-attestation --key attestation.pub --private-infrastructure --check-claims=true \
attested:      --bundle provenance.sigstore.json --type https://slsa.dev/provenance/v1 change.patch
attested:    cosign verify-blob-attestation --key attestation.pub --private-infrastructure --check-claims=true \
attested:      --bundle trace.sigstore.json --type https://in-toto.io/attestation/runtime-trace/v0.1 change.patch
attested:    cosign verify-blob-attestation --key attestation.pub --private-infrastructure --check-claims=true \
attested:      --bundle verification.sigstore.json --type https://in-toto.io/attestation/svr/v0.2 change.patch
attested:
## With openssl and jq

What is signed is DSSE's encoding of the payload. For the manifest, and likewise for the others:

    d=$(mktemp -d)
    jq -r .dsseEnvelope.payload manifest.sigstore.json | base64 -d > $d/payload
    { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c < $d/payload)"; cat $d/payload; } > $d/signed
    jq -r '.dsseEnvelope.signatures[0].sig' manifest.sigstore.json | base64 -d > $d/signature
    openssl dgst -sha256 -verify attestation.pub -signature $d/signature $d/signed
    jq -r '.subject[0].digest.sha256' $d/payload; sha256sum manifest.json

Then compare each file with the manifest:

    jq -r '.files[] | (.digest | ltrimstr("sha256:")) + "  " + .name' manifest.json | sha256sum -c

## The log

A leaf is SHA-256 of a zero byte and a line of records.jsonl without its newline; the tree is that of RFC 6962. Any client of
transparency logs checks the proofs: golang.org/x/mod/sumdb/tlog has CheckRecord, and sumdb/note opens the checkpoint.
`

// Readme says how to check a pack of these files with public tools.
func Readme(p verify.Pack) []byte {
	_, change := p[verify.ChangeFile]
	_, attested := p[verify.ProvenanceName+verify.BundleSuffix]
	var b strings.Builder
	for line := range strings.Lines(readme) {
		if rest, ok := strings.CutPrefix(line, "change:"); ok {
			if change {
				b.WriteString(rest)
			}
		} else if rest, ok := strings.CutPrefix(line, "attested:"); ok {
			if attested {
				b.WriteString(rest)
			}
		} else {
			b.WriteString(line)
		}
	}
	return []byte(b.String())
}
