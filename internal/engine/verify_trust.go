package engine

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/attest"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/verify"
)

// readTrust reads the keys the user names, or finds this machine's own.
func (v *verifying) readTrust() error {
	for _, path := range v.opts.Keys {
		key, err := readPublicKey(path)
		if err != nil {
			return fmt.Errorf("--key: %w", err)
		}
		v.trust.Keys = append(v.trust.Keys, key)
	}
	if v.opts.LogKey != "" {
		text, err := readBounded(v.opts.LogKey, 4<<10)
		if err != nil {
			return fmt.Errorf("--log-key: %w", err)
		}
		v.trust.Log = strings.TrimSuffix(string(text), "\n")
	}
	return nil
}

// ownKeys are the public keys of this installation, if it has any.
func (v *verifying) ownKeys() []verify.PublicKey {
	keys := attest.OpenKeys(filepath.Join(v.host.Paths.State, "keys"))
	own, err := keys.Retired()
	if err != nil {
		own = nil
	}
	if now, err := keys.Public(); err == nil {
		own = append(own, now)
	}
	return own
}

// trustOwn adds this machine's own keys where the user named none and signed
// is one of them.
func (v *verifying) trustOwn(signed carrel.Digest) {
	if len(v.trust.Keys) > 0 {
		return
	}
	own := v.ownKeys()
	if slices.ContainsFunc(own, func(k verify.PublicKey) bool { return k.ID == signed }) {
		v.trust.Keys, v.own = own, true
	}
}

// ownLogs are the keys of this machine's own log, the one that signs now first.
func (v *verifying) ownLogs() []string {
	key, err := audit.PublicKey(filepath.Join(v.host.Paths.State, "keys"))
	if err != nil {
		return nil
	}
	earlier, err := verify.EarlierKeys(filepath.Join(v.host.Paths.State, "log"), key)
	if err != nil {
		earlier = nil
	}
	return append([]string{key}, earlier...)
}

// trustOwnLog adds the key of this machine's own log that is meant, or the one
// that signs now, where the user named none.
func (v *verifying) trustOwnLog(meant func(key string) bool) {
	if v.trust.Log != "" {
		return
	}
	own := v.ownLogs()
	if i := slices.IndexFunc(own, meant); i >= 0 {
		v.trust.Log = own[i]
	} else if len(own) > 0 {
		v.trust.Log = own[0]
	}
}

// signedIn tells the key that a proof's checkpoint is signed by.
func signedIn(proof verify.Proof) func(key string) bool {
	return func(key string) bool {
		_, err := verify.OpenCheckpoint(proof.Checkpoint, key)
		return err == nil
	}
}

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
