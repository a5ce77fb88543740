package policy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math/big"
	"path"
	"slices"
	"strings"
	"time"
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

// claims are what a bundle's signature says: the digest of every file.
type claims struct {
	Files    []fileClaim `json:"files"`
	KeyID    string      `json:"keyid,omitempty"`
	Scope    string      `json:"scope,omitempty"`
	IssuedAt int64       `json:"iat,omitempty"`
}

type fileClaim struct {
	Name      string `json:"name"`
	Hash      string `json:"hash"`
	Algorithm string `json:"algorithm"`
}

// verifyBundle checks that one of the keys signed every file, and returns its
// name.
func verifyBundle(files map[string][]byte, keys []Key) (string, error) {
	if len(keys) == 0 {
		return "", errors.New("no key is configured to check its signature with; see policy_keys")
	}
	raw, ok := files[signaturesFile]
	if !ok {
		return "", errors.New("it is not signed")
	}
	var signatures struct {
		Signatures []string `json:"signatures"`
		Plugin     string   `json:"plugin"`
	}
	if err := json.Unmarshal(raw, &signatures); err != nil || len(signatures.Signatures) != 1 || signatures.Plugin != "" && signatures.Plugin != "_default" {
		return "", fmt.Errorf("%s does not hold exactly one signature", signaturesFile)
	}
	name, said, err := openToken(signatures.Signatures[0], keys)
	if err != nil {
		return "", err
	}
	if said.Scope != "" {
		return "", fmt.Errorf("it is signed for the scope %q, and policies here have none", said.Scope)
	}
	return name, said.cover(files)
}

// cover checks that the claims are about these files, all of them and no other.
func (c claims) cover(files map[string][]byte) error {
	said := map[string]bool{}
	for _, f := range c.Files {
		content, ok := files[f.Name]
		switch {
		case !ok:
			return fmt.Errorf("%s is signed and not there", f.Name)
		case said[f.Name]:
			return fmt.Errorf("%s is signed twice", f.Name)
		}
		said[f.Name] = true
		got, err := digestFile(f.Name, content, f.Algorithm)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if !strings.EqualFold(got, f.Hash) {
			return fmt.Errorf("%s is not what was signed", f.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !said[name] && name != signaturesFile {
			return fmt.Errorf("%s is there and not signed", name)
		}
	}
	return nil
}

// digestFile hashes a file as the bundle format wants: documents by their
// content, whatever their spelling, the rest by their bytes.
func digestFile(name string, content []byte, algorithm string) (string, error) {
	var h hash.Hash
	switch algorithm {
	case "SHA-256":
		h = sha256.New()
	case "SHA-384":
		h = sha512.New384()
	case "SHA-512":
		h = sha512.New()
	default:
		return "", fmt.Errorf("hashed with %q; use SHA-256, SHA-384 or SHA-512", algorithm)
	}
	switch base := path.Base(name); {
	case base == "data.yaml" || base == "data.yml":
		return "", errors.New("data in YAML has no one spelling that can be signed; use data.json")
	case base == manifestFile || base == "data.json":
		dec := json.NewDecoder(bytes.NewReader(content))
		dec.UseNumber()
		var doc any
		if err := dec.Decode(&doc); err != nil {
			return "", err
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return "", errors.New("data after the document")
		}
		if err := writeSorted(h, doc); err != nil {
			return "", err
		}
	default:
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeSorted writes a document as compact JSON with sorted members.
func writeSorted(w io.Writer, v any) error {
	enc := json.NewEncoder(newlineTrimmer{w})
	enc.SetEscapeHTML(false)
	return enc.Encode(v) // encoding/json sorts the members of maps
}

// newlineTrimmer drops the newline that an encoder ends a value with.
type newlineTrimmer struct{ w io.Writer }

func (t newlineTrimmer) Write(b []byte) (int, error) {
	_, err := t.w.Write(bytes.TrimSuffix(b, []byte("\n")))
	return len(b), err
}

// signBundle returns the signatures file of a bundle with these files.
func signBundle(files map[string][]byte, key SigningKey) ([]byte, error) {
	c := claims{KeyID: key.Name, IssuedAt: time.Now().Unix()}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		digest, err := digestFile(name, files[name], "SHA-256")
		if err != nil {
			return nil, fmt.Errorf("signing %s: %w", name, err)
		}
		c.Files = append(c.Files, fileClaim{name, digest, "SHA-256"})
	}
	token, err := sealToken(c, key)
	if err != nil {
		return nil, fmt.Errorf("signing the bundle: %w", err)
	}
	return json.Marshal(map[string][]string{"signatures": {token}})
}

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
	return "", c, fmt.Errorf("it is signed with the key %q, which is not configured", id)
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
