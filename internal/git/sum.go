package git

import (
	"crypto/sha1" // #nosec: what git calls the objects of SHA-1 repositories
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"github.com/carrel-dev/carrel"
)

// Sum reads content of the given size once and returns its digest and, if
// like is an object name, the name that git would give it in like's format.
func Sum(content io.Reader, size int64, like string) (carrel.Digest, string, error) {
	digest := sha256.New()
	var object hash.Hash = sha1.New()
	if len(like) == 64 {
		object = sha256.New()
	}
	w := io.Writer(digest)
	if like != "" {
		fmt.Fprintf(object, "blob %d\x00", size)
		w = io.MultiWriter(digest, object)
	}
	if _, err := io.Copy(w, content); err != nil {
		return "", "", err
	}
	if like == "" {
		return carrel.DigestHash(digest), "", nil
	}
	return carrel.DigestHash(digest), hex.EncodeToString(object.Sum(nil)), nil
}
