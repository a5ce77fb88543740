package policy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Key checks signatures of bundles. Name is what a signature calls it.
type Key struct {
	Name   string
	Public crypto.PublicKey
}

// SigningKey makes them.
type SigningKey struct {
	Name   string
	Signer crypto.Signer
}

// ParseKey reads a public key in PEM. A key that two sides share signs
// nothing: whoever checks with it can also forge.
func ParseKey(name string, raw []byte) (Key, error) {
	block, rest := pem.Decode(raw)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return Key{}, errors.New("not one public key in PEM")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("not a public key: %w", err)
	}
	switch public.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey:
		return Key{name, public}, nil
	}
	return Key{}, errors.New("use a key of ECDSA, RSA or Ed25519")
}

// ParseSigningKey reads a private key in PEM.
func ParseSigningKey(name string, raw []byte) (SigningKey, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return SigningKey{}, errors.New("not a private key in PEM")
	}
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
		func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
	} {
		if key, err := parse(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return SigningKey{name, signer}, nil
			}
		}
	}
	return SigningKey{}, errors.New("not a private key of ECDSA, RSA or Ed25519")
}
