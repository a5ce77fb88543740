package engine

import (
	"fmt"
	"io"
	"os"

	"github.com/carrel-dev/carrel/verify"
)

// readPublicKey reads a public key in PEM from a file that somebody trusts.
func readPublicKey(path string) (verify.PublicKey, error) {
	text, err := readBounded(path, 16<<10)
	if err != nil {
		return verify.PublicKey{}, fmt.Errorf("reading a public key: %w", err)
	}
	key, err := verify.ParsePublicKey(text)
	if err != nil {
		return verify.PublicKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, err
}
