package carrel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// Digest names content: "sha256:" and 64 lower-case hex digits. The empty
// digest names nothing and equals nothing (see Equal).
type Digest string

const digestPrefix = "sha256:"

// DigestBytes returns the digest of b.
func DigestBytes(b []byte) Digest {
	sum := sha256.Sum256(b)
	var text [len(digestPrefix) + 2*sha256.Size]byte
	hex.Encode(text[copy(text[:], digestPrefix):], sum[:])
	return Digest(text[:])
}

// DigestHash returns the digest held by h, which must be a SHA-256 hash.
func DigestHash(h hash.Hash) Digest {
	return Digest(digestPrefix + hex.EncodeToString(h.Sum(nil)))
}

// ParseDigest accepts only the one spelling that Digest documents.
func ParseDigest(s string) (Digest, error) {
	body, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(body) != 2*sha256.Size || strings.ToLower(body) != body {
		return "", fmt.Errorf("%q is not a digest (sha256:<64 lower-case hex digits>)", s)
	}
	if _, err := hex.DecodeString(body); err != nil {
		return "", fmt.Errorf("%q is not a digest: %w", s, err)
	}
	return Digest(s), nil
}

// Hex returns the hex digits, without the algorithm.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), digestPrefix) }

// Short returns the first twelve hex digits, for people.
func (d Digest) Short() string {
	h := d.Hex()
	return h[:min(12, len(h))]
}

// Equal reports whether both digests are valid and the same.
func (d Digest) Equal(e Digest) bool {
	_, err := ParseDigest(string(d))
	return err == nil && d == e
}
