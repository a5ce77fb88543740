package verify

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// Witness is the public key of somebody who cosigns checkpoints of logs, each
// only if it goes on from the one before: an Ed25519 key of C2SP
// tlog-cosignature. It is a note.Verifier and immutable.
type Witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

const (
	algCosignature = 0x04 // of tlog-cosignature: Ed25519, with a time
	timeBytes      = 8    // of a cosignature, before its signature
)

// ParseWitness reads the public key of a witness, "name+hash+key" of type 0x04.
func ParseWitness(vkey string) (Witness, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 || parts[0] == "" || len(parts[0]) > 255 || !utf8.ValidString(parts[0]) || strings.ContainsFunc(parts[0], unicode.IsSpace) { // as signed notes have it
		return Witness{}, errors.New("not the key of a witness (name+hash+key)")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != algCosignature || base64.StdEncoding.EncodeToString(key) != parts[2] {
		return Witness{}, errors.New("not the key of a witness: only keys for cosignature/v1 with Ed25519 are understood")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	w := Witness{parts[0], binary.BigEndian.Uint32(sum[:]), ed25519.PublicKey(key[1:])}
	if fmt.Sprintf("%08x", w.hash) != parts[1] {
		return Witness{}, errors.New("the key of the witness is not the one that its name and hash say")
	}
	return w, nil
}

// Name, KeyHash and Verify implement note.Verifier.
func (w Witness) Name() string    { return w.name }
func (w Witness) KeyHash() uint32 { return w.hash }
func (w Witness) Verify(text, sig []byte) bool {
	if len(sig) != timeBytes+ed25519.SignatureSize {
		return false
	}
	if _, ok := cosigned(sig); !ok {
		return false
	}
	message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), text)
	return ed25519.Verify(w.key, message, sig[timeBytes:])
}

// cosigned reads the time of a cosignature: in seconds, after 1970.
func cosigned(sig []byte) (time.Time, bool) {
	seconds := binary.BigEndian.Uint64(sig)
	return time.Unix(int64(seconds), 0).UTC(), seconds > 0 && seconds < 1<<40
}

// Cosignature says that a witness has seen a checkpoint and knew no other past.
type Cosignature struct {
	Witness string    `json:"witness"`
	Hash    uint32    `json:"-"`
	Time    time.Time `json:"time"` // by the clock of the witness
}

// Cosignatures returns those of the given witnesses on a signed checkpoint of
// the log with the given key. Those of others are not looked at; one wrong
// signature by a known key makes the whole checkpoint worthless.
func Cosignatures(signed []byte, key string, witnesses []Witness) (Checkpoint, []Cosignature, error) {
	c, err := OpenCheckpoint(signed, key)
	if err != nil {
		return c, nil, err
	}
	verifiers := make([]note.Verifier, len(witnesses))
	for i, w := range witnesses {
		verifiers[i] = w
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	var none *note.UnverifiedNoteError
	if errors.As(err, &none) {
		return c, nil, nil
	}
	if err != nil {
		return c, nil, fmt.Errorf("checking the cosignatures: %w", err)
	}
	var out []Cosignature
	for _, sig := range n.Sigs {
		raw, err := base64.StdEncoding.Strict().DecodeString(sig.Base64)
		if err != nil || len(raw) < 4+timeBytes {
			return c, nil, errors.New("a cosignature is not in its one spelling")
		}
		at, _ := cosigned(raw[4:])
		out = append(out, Cosignature{sig.Name, sig.Hash, at})
	}
	return c, out, nil
}
