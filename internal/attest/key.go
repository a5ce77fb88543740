package attest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/verify"
)

// Signer signs attestations. Sign returns an ECDSA signature in ASN.1 over the
// SHA-256 of message, by the key that Public names; it may take as long as a
// person needs to touch a token, and ends with ctx. It need not be safe for
// concurrent use.
type Signer interface {
	Public() verify.PublicKey
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

const (
	keyFile    = "attestation.key"
	publicFile = "attestation.pub"
	pemKey     = "PRIVATE KEY"
	maxKey     = 4 << 10 // bytes of a key file
)

// Keys are the signing keys of one user, in a private directory.
type Keys struct{ dir string }

// OpenKeys names the directory; nothing is read or made yet.
func OpenKeys(dir string) Keys { return Keys{dir} }

// Path returns where the signing key is, or will be.
func (k Keys) Path() string { return filepath.Join(k.dir, keyFile) }

// Signer returns the signing key, which it makes on first use. A key that
// others could read or have written is refused, and so is one that lies in a
// directory an agent works in.
func (k Keys) Signer(workspaces ...string) (Signer, error) {
	if err := k.outside(workspaces); err != nil {
		return nil, err
	}
	key, err := k.load()
	if errors.Is(err, fs.ErrNotExist) {
		err = private.Locked(k.dir, func() (err error) {
			if key, err = k.load(); errors.Is(err, fs.ErrNotExist) { // nobody made one meanwhile
				key, err = k.make()
			}
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("the attestation key: %w", err)
	}
	return newFileKey(key)
}

// outside refuses a key that lies within one of the directories, whatever
// links lead there.
func (k Keys) outside(workspaces []string) error {
	real, err := filepath.EvalSymlinks(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		real, err = k.dir, nil
	}
	if err != nil {
		return fmt.Errorf("the attestation key: %w", err)
	}
	for _, w := range workspaces {
		if within(real, w) || within(k.dir, w) {
			return fmt.Errorf("the attestation key would lie in the workspace %s, where agents work; set XDG_STATE_HOME to another place", w)
		}
	}
	return nil
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return dir != "" && err == nil && filepath.IsLocal(rel)
}

func (k Keys) load() (*ecdsa.PrivateKey, error) {
	text, err := private.Read(k.Path(), maxKey)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemKey || len(rest) > 0 {
		return nil, fmt.Errorf("%s is not one private key in PEM", k.Path())
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", k.Path(), err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s is not an ECDSA key on P-256", k.Path())
	}
	return key, nil
}

// make writes a new key, the public half first: a key whose public half is
// nowhere would sign what nobody can check. The lock is held.
func (k Keys) make() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := verify.NewPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := private.Replace(filepath.Join(k.dir, publicFile), public.PEM()); err != nil {
		return nil, err
	}
	return key, private.Replace(k.Path(), pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}))
}

// Public returns the public half of the key that signs now. The error is
// fs.ErrNotExist if there is none yet.
func (k Keys) Public() (verify.PublicKey, error) {
	key, err := k.load()
	if err != nil {
		return verify.PublicKey{}, err
	}
	return verify.NewPublicKey(&key.PublicKey)
}

// Rotate puts a new key in the place of the old one, whose private half is
// destroyed, under a grant for a, which revokes it. The old public half is kept
// beside, by date, for what it signed; a key that cannot be read leaves none.
func (k Keys) Rotate(_ context.Context, g gate.Grant, a carrel.Action, now time.Time) (fresh verify.PublicKey, err error) {
	if err := g.Covers(a); err != nil {
		return fresh, err
	}
	err = private.Locked(k.dir, func() error {
		if key, err := k.load(); err == nil {
			old, err := verify.NewPublicKey(&key.PublicKey)
			if err != nil {
				return err
			}
			retired := fmt.Sprintf("attestation-%s-%s.pub", now.UTC().Format("20060102T150405Z"), old.ID.Short())
			if err := private.Replace(filepath.Join(k.dir, retired), old.PEM()); err != nil {
				return err
			}
		}
		made, err := k.make()
		if err != nil {
			return err
		}
		fresh, err = verify.NewPublicKey(&made.PublicKey)
		return err
	})
	if err != nil {
		return fresh, fmt.Errorf("rotating the attestation key: %w", err)
	}
	return fresh, nil
}

// Retired returns the public keys that signed before, oldest first.
func (k Keys) Retired() ([]verify.PublicKey, error) {
	names, err := filepath.Glob(filepath.Join(k.dir, "attestation-*.pub"))
	if err != nil {
		return nil, err
	}
	var out []verify.PublicKey
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading a retired key: %w", err)
		}
		key, err := verify.ParsePublicKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, key)
	}
	return out, nil
}

// fileKey signs with a key in memory.
type fileKey struct {
	private *ecdsa.PrivateKey
	public  verify.PublicKey
}

func newFileKey(key *ecdsa.PrivateKey) (Signer, error) {
	public, err := verify.NewPublicKey(&key.PublicKey)
	return fileKey{key, public}, err
}

// Public implements Signer.
func (k fileKey) Public() verify.PublicKey { return k.public }

// Sign implements Signer.
func (k fileKey) Sign(_ context.Context, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, k.private, sum[:])
}
