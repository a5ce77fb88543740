package verify

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a statement about a log: so many records, this root.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
}

// EmptyRoot is the root of a log without records (RFC 6962, 2.1).
var EmptyRoot = tlog.Hash(sha256.Sum256(nil))

// maxCheckpoint bounds a signed checkpoint: three lines and a hundred
// signatures fit well.
const maxCheckpoint = 64 << 10

// Text returns the three lines that are signed.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.root())
}

func (c Checkpoint) root() string { return base64.StdEncoding.EncodeToString(c.Root[:]) }

// ParseCheckpoint reads the text of a checkpoint: origin, size and root, one
// line each, and nothing else. Lines of extension, other line ends and other
// spellings of the numbers are errors: nobody may put words between what was
// signed and what is believed.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, errors.New("checkpoint is not exactly three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || size > 1<<53-1 {
		return Checkpoint{}, errors.New("checkpoint size is not a number of records")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, errors.New("checkpoint root is not a hash in base64")
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(root)}
	if c.Origin == "" || strings.TrimSpace(c.Origin) != c.Origin || c.Text() != text {
		return Checkpoint{}, errors.New("checkpoint is not in its one spelling")
	}
	if size == 0 && c.Root != EmptyRoot {
		return Checkpoint{}, errors.New("checkpoint of no records with a root that is not the empty one")
	}
	return c, nil
}

// checkSpelling refuses a signed note whose signature lines could be written
// in another way: in loose base64, or twice by one key.
func checkSpelling(n *note.Note, signed string) error {
	sigs := append(append([]note.Signature(nil), n.Sigs...), n.UnverifiedSigs...)
	if lines := strings.Count(signed[len(n.Text):], "\n") - 1; lines != len(sigs) {
		return fmt.Errorf("checkpoint has %d signature lines by %d keys", lines, len(sigs))
	}
	for _, sig := range sigs {
		b, err := base64.StdEncoding.Strict().DecodeString(sig.Base64)
		if err != nil || base64.StdEncoding.EncodeToString(b) != sig.Base64 {
			return fmt.Errorf("checkpoint signature by %s is not in its one spelling", sig.Name)
		}
	}
	return nil
}

// otherSigner says that a checkpoint has no signature by the key it was checked
// with, and whose it has.
func otherSigner(n *note.Note, want note.Verifier) error {
	var by []string
	for _, sig := range n.UnverifiedSigs {
		by = append(by, fmt.Sprintf("%.200s+%08x", sig.Name, sig.Hash))
	}
	return fmt.Errorf("the checkpoint is signed by %q, not by %s+%08x: %w", by, want.Name(), want.KeyHash(), ErrUntrusted)
}

// OpenCheckpoint checks the signature of a checkpoint and reads it. key is the
// log's public key in the form "name+hash+key" of signed notes; the
// checkpoint's origin must be its name. Signatures by other keys are not
// looked at; a wrong one by this key makes the whole note invalid. Where there
// is none by this key the error wraps ErrUntrusted.
func OpenCheckpoint(signed []byte, key string) (Checkpoint, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("reading the log's public key: %w", err)
	}
	return OpenCheckpointBy(signed, verifier)
}

// OpenCheckpointBy is OpenCheckpoint for whoever has the key in another form.
func OpenCheckpointBy(signed []byte, verifier note.Verifier) (Checkpoint, error) {
	if len(signed) > maxCheckpoint {
		return Checkpoint{}, fmt.Errorf("checkpoint of %d bytes is over the limit of %d", len(signed), maxCheckpoint)
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return Checkpoint{}, otherSigner(unverified.Note, verifier)
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checking the checkpoint's signature: %w", err)
	}
	if err := checkSpelling(n, string(signed)); err != nil {
		return Checkpoint{}, err
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != verifier.Name() {
		return Checkpoint{}, fmt.Errorf("checkpoint is of the log %q, the key of %q", c.Origin, verifier.Name())
	}
	return c, nil
}
