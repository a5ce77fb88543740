package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/carrel-dev/carrel"
)

// Media types of attestations.
const (
	BundleType  = "application/vnd.dev.sigstore.bundle.v0.3+json"
	PayloadType = "application/vnd.in-toto+json"
)

// maxBundle bounds a bundle: a statement lists at most some thousand things.
const maxBundle = 8 << 20

// Bundle is a signed statement: a DSSE envelope with one signature, as a
// Sigstore bundle of version 0.3 with the digest of the key as its hint.
type Bundle struct {
	Payload   []byte // the statement
	Signature []byte // ECDSA in ASN.1 over PAE
	Key       carrel.Digest
}

type bundleJSON struct {
	MediaType string       `json:"mediaType"`
	Material  materialJSON `json:"verificationMaterial"`
	Envelope  envelopeJSON `json:"dsseEnvelope"`
}

type materialJSON struct {
	PublicKey struct {
		Hint carrel.Digest `json:"hint"`
	} `json:"publicKey"`
}

type envelopeJSON struct {
	Payload     string          `json:"payload"`
	PayloadType string          `json:"payloadType"`
	Signatures  []signatureJSON `json:"signatures"`
}

// signatureJSON has no keyid: DSSE leaves its meaning open, verifiers compare
// it with names of their own making, and the bundle names the key anyway.
type signatureJSON struct {
	Sig string `json:"sig"`
}

// PAE is DSSE's pre-authentication encoding of a statement: the bytes that are
// signed.
func PAE(payload []byte) []byte {
	out := append([]byte("DSSEv1 "), strconv.Itoa(len(PayloadType))+" "+PayloadType+" "+strconv.Itoa(len(payload))+" "...)
	return append(out, payload...)
}

// Bytes returns the bundle as a file holds it.
func (b Bundle) Bytes() ([]byte, error) {
	raw := bundleJSON{MediaType: BundleType, Envelope: envelopeJSON{
		Payload: base64.StdEncoding.EncodeToString(b.Payload), PayloadType: PayloadType,
		Signatures: []signatureJSON{{base64.StdEncoding.EncodeToString(b.Signature)}},
	}}
	raw.Material.PublicKey.Hint = b.Key
	return carrel.Canonical(raw)
}

// ParseBundle reads a bundle in the one spelling that Bytes writes: exactly
// one signature, the payload type of in-toto, standard base64, and no member
// that Carrel does not check. Nothing of it is checked yet; see Verify.
func ParseBundle(raw []byte) (Bundle, error) {
	if len(raw) > maxBundle {
		return Bundle{}, fmt.Errorf("bundle of %d bytes is over the limit of %d", len(raw), maxBundle)
	}
	var in bundleJSON
	if err := decodeStrict(raw, &in); err != nil {
		return Bundle{}, fmt.Errorf("bundle: %w", err)
	}
	switch {
	case in.MediaType != BundleType:
		return Bundle{}, fmt.Errorf("bundle: media type %.80q is not %s", in.MediaType, BundleType)
	case in.Envelope.PayloadType != PayloadType:
		return Bundle{}, fmt.Errorf("bundle: payload type %.80q is not %s", in.Envelope.PayloadType, PayloadType)
	case len(in.Envelope.Signatures) != 1:
		return Bundle{}, fmt.Errorf("bundle: %d signatures, not one", len(in.Envelope.Signatures))
	}
	payload, err := strictBase64(in.Envelope.Payload)
	if err != nil {
		return Bundle{}, fmt.Errorf("bundle: payload: %w", err)
	}
	sig, err := strictBase64(in.Envelope.Signatures[0].Sig)
	if err != nil {
		return Bundle{}, fmt.Errorf("bundle: signature: %w", err)
	}
	return Bundle{payload, sig, in.Material.PublicKey.Hint}, nil
}

// Verify checks the signature with one of the given keys, the one that the
// bundle names, and reads the statement. No key, or another one, is an error.
func (b Bundle) Verify(keys ...PublicKey) (Statement, error) {
	for _, k := range keys {
		if k.ID != b.Key || k.key == nil {
			continue
		}
		if err := b.SignedBy(k); err != nil {
			return Statement{}, err
		}
		return ParseStatement(b.Payload)
	}
	return Statement{}, fmt.Errorf("signed by key %s: %w", b.Key.Short(), ErrUntrusted)
}

// SignedBy checks the signature with the given key, and nothing of what is
// signed.
func (b Bundle) SignedBy(k PublicKey) error {
	if k.key == nil {
		return fmt.Errorf("signed by key %s: %w", b.Key.Short(), ErrUntrusted)
	}
	sum := sha256.Sum256(PAE(b.Payload))
	if !ecdsa.VerifyASN1(k.key, sum[:], b.Signature) {
		return fmt.Errorf("the signature is not by key %s", k.ID.Short())
	}
	return nil
}

func strictBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(b) != s {
		return nil, errors.New("not standard base64")
	}
	return b, nil
}

// maxObjects bounds the objects in what is read strictly: a statement lists
// some thousand. One of two bytes in a list becomes a hundred in memory.
const maxObjects = 1 << 16

// countObjects refuses JSON that would become many more objects in memory than
// it has bytes for: null is one, too.
func countObjects(raw []byte, limit int) error {
	n, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			inString = !inString
		case c == '\\' && inString:
			i++
		case !inString && (c == '{' || c == 'n'):
			n++
		}
	}
	if n > limit {
		return fmt.Errorf("%d objects are over the limit of %d", n, limit)
	}
	return nil
}

// decodeStrict reads canonical JSON into v, whose type must know every member:
// what was read, written again, must be what was read.
func decodeStrict(raw []byte, v any) error {
	if err := countObjects(raw, maxObjects); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	again, err := carrel.Canonical(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, raw) {
		return errors.New("not in the canonical form of what this release writes")
	}
	return nil
}
