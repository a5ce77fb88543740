package policy

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

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
		doc, err := readDocument(content)
		if err != nil {
			return "", err
		}
		if err := writeSorted(h, doc); err != nil {
			return "", err
		}
	default:
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// readDocument reads a document of a bundle, as it is hashed and as it is used.
func readDocument(content []byte) (doc any, err error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the document")
	}
	return doc, nil
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
