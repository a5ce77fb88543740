package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
)

// PublicKey checks attestations: an ECDSA key on P-256. Its ID is the digest
// of its DER form, which is what people compare.
type PublicKey struct {
	ID  carrel.Digest
	key *ecdsa.PublicKey
	der []byte
}

const (
	pemPublicKey = "PUBLIC KEY"
	maxKey       = 4 << 10 // one takes less than two hundred bytes
)

// NewPublicKey returns k for checking. Keys on other curves are errors.
func NewPublicKey(k *ecdsa.PublicKey) (PublicKey, error) {
	if k == nil || k.Curve != elliptic.P256() {
		return PublicKey{}, errors.New("attestations are signed with ECDSA keys on P-256")
	}
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return PublicKey{}, fmt.Errorf("encoding a public key: %w", err)
	}
	return PublicKey{carrel.DigestBytes(der), k, der}, nil
}

// ParsePublicKey reads a public key as attestation.pub holds it: one PEM block
// with nothing around it.
func ParsePublicKey(text []byte) (PublicKey, error) {
	if len(text) > maxKey {
		return PublicKey{}, fmt.Errorf("public key of %d bytes is over the limit of %d", len(text), maxKey)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemPublicKey || len(rest) > 0 {
		return PublicKey{}, errors.New("not a public key in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return PublicKey{}, fmt.Errorf("reading a public key: %w", err)
	}
	key, _ := parsed.(*ecdsa.PublicKey)
	p, err := NewPublicKey(key)
	if err != nil {
		return PublicKey{}, err
	}
	if !bytes.Equal(p.PEM(), text) {
		return PublicKey{}, errors.New("public key is not in its one spelling; write it again with openssl pkey -pubin")
	}
	return p, nil
}

// PEM returns the key as ParsePublicKey reads it.
func (p PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemPublicKey, Bytes: p.der})
}
