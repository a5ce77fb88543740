package policy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

var encoding = base64.RawURLEncoding.Strict()

// tokenHeader is the protected header of the signature, a JSON web token.
type tokenHeader struct {
	Algorithm string   `json:"alg"`
	KeyID     string   `json:"kid,omitempty"`
	Critical  []string `json:"crit,omitempty"`
}

// openToken checks a token and returns the name of its key and its claims.
// The key says which algorithms it takes part in; the token only chooses.
func openToken(token string, keys []Key) (string, claims, error) {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", c, errors.New("the signature is not a signed token")
	}
	rawHeader, err1 := encoding.DecodeString(parts[0])
	rawClaims, err2 := encoding.DecodeString(parts[1])
	signature, err3 := encoding.DecodeString(parts[2])
	var header tokenHeader
	if err := errors.Join(err1, err2, err3); err != nil || json.Unmarshal(rawHeader, &header) != nil || len(header.Critical) > 0 {
		return "", c, errors.New("the signature cannot be read")
	}
	if err := json.Unmarshal(rawClaims, &c); err != nil {
		return "", c, errors.New("what is signed cannot be read")
	}
	id := header.KeyID
	if id == "" {
		id = c.KeyID
	}
	if id == "default" { // what opa says when it was given no name
		id = ""
	}
	if id == "" && len(keys) > 1 {
		return "", c, errors.New("the signature does not say which key it is of, and several are configured")
	}
	for _, key := range keys {
		if id != "" && key.Name != id {
			continue
		}
		if !verifies(key.Public, header.Algorithm, []byte(parts[0]+"."+parts[1]), signature) {
			return "", c, fmt.Errorf("the signature is not one of the key %s", key.Name)
		}
		return key.Name, c, nil
	}
	return "", c, fmt.Errorf("it is signed with the key %q, which is not configured: its public half must be in a file of that name, as %s.pem, or --key-name must name the one that is", id, id)
}

// verifies checks a signature. An algorithm that is not for keys of this kind
// fails, as do the ones with a shared secret and the one called none.
func verifies(public crypto.PublicKey, algorithm string, message, signature []byte) bool {
	if len(algorithm) < 3 {
		return false
	}
	h := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[algorithm[2:]]
	var sum []byte
	if h != 0 {
		hasher := h.New()
		hasher.Write(message)
		sum = hasher.Sum(nil)
	}
	switch key := public.(type) {
	case ed25519.PublicKey:
		return algorithm == "EdDSA" && ed25519.Verify(key, message, signature)
	case *rsa.PublicKey:
		switch {
		case h == 0 || key.N.BitLen() < 2048:
			return false
		case strings.HasPrefix(algorithm, "RS"):
			return rsa.VerifyPKCS1v15(key, h, sum, signature) == nil
		case strings.HasPrefix(algorithm, "PS"):
			return rsa.VerifyPSS(key, h, sum, signature, nil) == nil
		}
	case *ecdsa.PublicKey:
		size := (key.Curve.Params().BitSize + 7) / 8
		if h == 0 || algorithm != ecAlgorithm(key) || len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(key, sum, r, s)
	}
	return false
}

func ecAlgorithm(key *ecdsa.PublicKey) string {
	return map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Curve.Params().BitSize]
}

// sealToken signs claims.
func sealToken(c claims, key SigningKey) (string, error) {
	header := tokenHeader{KeyID: key.Name}
	h := crypto.SHA256
	switch public := key.Signer.Public().(type) {
	case *ecdsa.PublicKey:
		header.Algorithm = ecAlgorithm(public)
		h = map[string]crypto.Hash{"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512}[header.Algorithm]
	case *rsa.PublicKey:
		header.Algorithm = "RS256"
	case ed25519.PublicKey:
		header.Algorithm, h = "EdDSA", crypto.Hash(0)
	}
	rawHeader, err1 := json.Marshal(header)
	rawClaims, err2 := json.Marshal(c)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	message := encoding.EncodeToString(rawHeader) + "." + encoding.EncodeToString(rawClaims)
	signature, err := signMessage(key.Signer, h, []byte(message))
	return message + "." + encoding.EncodeToString(signature), err
}

func signMessage(signer crypto.Signer, h crypto.Hash, message []byte) ([]byte, error) {
	if h == 0 {
		return signer.Sign(rand.Reader, message, h)
	}
	hasher := h.New()
	hasher.Write(message)
	key, ok := signer.(*ecdsa.PrivateKey)
	if !ok {
		return signer.Sign(rand.Reader, hasher.Sum(nil), h)
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, hasher.Sum(nil))
	if err != nil {
		return nil, err
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
}
