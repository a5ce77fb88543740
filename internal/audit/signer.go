package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cloudflare/circl/sign/ed25519"
	"golang.org/x/mod/sumdb/note"

	"github.com/carrel-dev/carrel/verify"
)

// signer signs notes with a private key in its text form, as note.NewSigner
// does and with the same signatures. Its tables are part of the program: the
// standard library works them out before its first signature, which took a
// twentieth of a short run.
type signer struct {
	name   string
	hash   uint32
	key    ed25519.PrivateKey
	public string // in its text form
}

var errNotKey = errors.New("not a key of signed notes")

// newSigner reads a key: PRIVATE+KEY+name+hash+base64(1, seed).
func newSigner(text string) (*signer, error) {
	fields, ok := strings.CutPrefix(text, "PRIVATE+KEY+")
	parts := strings.SplitN(fields, "+", 3)
	if !ok || len(parts) != 3 {
		return nil, errNotKey
	}
	seed, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(seed) != 1+ed25519.SeedSize || seed[0] != 1 {
		return nil, errNotKey
	}
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		return nil, errNotKey
	}
	key := ed25519.NewKeyFromSeed(seed[1:])
	public, err := note.NewEd25519VerifierKey(parts[0], []byte(key.Public().(ed25519.PublicKey)))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(public, parts[0]+"+"+parts[1]+"+") {
		return nil, errors.New("the key is not the one that its name and hash say")
	}
	return &signer{parts[0], uint32(hash), key, public}, nil
}

// Name, KeyHash and Sign implement note.Signer.
func (s *signer) Name() string                    { return s.name }
func (s *signer) KeyHash() uint32                 { return s.hash }
func (s *signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

// OpenCheckpoint is verify.OpenCheckpoint without the standard library's
// tables.
func OpenCheckpoint(signed []byte, key string) (verify.Checkpoint, error) {
	v, err := newVerifier(key)
	if err != nil {
		return verify.Checkpoint{}, err
	}
	return verify.OpenCheckpointBy(signed, v)
}

// verifier checks the log's own signatures, with the same tables.
type verifier struct {
	note.Verifier
	key ed25519.PublicKey
}

// newVerifier reads a public key: name+hash+base64(1, key).
func newVerifier(text string) (*verifier, error) {
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, fmt.Errorf("reading the log's public key: %w", err)
	}
	parts := strings.SplitN(text, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize {
		return nil, fmt.Errorf("reading the log's public key: %w", errNotKey)
	}
	return &verifier{v, ed25519.PublicKey(key[1:])}, nil
}

// Verify implements note.Verifier.
func (v *verifier) Verify(msg, sig []byte) bool { return ed25519.Verify(v.key, msg, sig) }
