package verify

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Bounds of a proof: no tree of 2⁵³ records needs more hashes, and nothing
// longer than a record is proved with it.
const (
	maxProofHashes = 64
	maxProof       = maxCheckpoint + 4*MaxRecord
)

const (
	proofHeader = "c2sp.org/tlog-proof@v1\n"
	proofExtra  = "extra "
	proofIndex  = "index "
)

// Proof says that a record is in a log, in the C2SP tlog-proof format: its
// index, the hashes that lead from it to the root, and a signed checkpoint
// with that root. Extra, where the proof carries it, is the record itself, so
// that nothing else is needed to check it.
type Proof struct {
	Extra      []byte
	Index      int64
	Hashes     []tlog.Hash
	Checkpoint []byte // signed
}

// ParseProof reads a proof in the one spelling that Bytes writes. Nothing of
// it is checked yet; see Check.
func ParseProof(raw []byte) (Proof, error) {
	var p Proof
	if len(raw) > maxProof {
		return p, fmt.Errorf("proof of %d bytes is over the limit of %d", len(raw), maxProof)
	}
	head, checkpoint, ok := strings.Cut(string(raw), "\n\n")
	rest, isProof := strings.CutPrefix(head+"\n", proofHeader)
	if !ok || !isProof {
		return p, errors.New("not a tlog-proof (c2sp.org/tlog-proof@v1)")
	}
	lines := strings.Split(strings.TrimSuffix(rest, "\n"), "\n")
	if extra, ok := strings.CutPrefix(lines[0], proofExtra); ok {
		var err error
		if p.Extra, err = base64.StdEncoding.Strict().DecodeString(extra); err != nil {
			return p, errors.New("proof: extra data is not base64")
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || len(lines)-1 > maxProofHashes {
		return p, errors.New("proof without an index, or with too many hashes")
	}
	index, ok := strings.CutPrefix(lines[0], proofIndex)
	n, err := strconv.ParseInt(index, 10, 64)
	if !ok || err != nil || n < 0 {
		return p, errors.New("proof without an index")
	}
	p.Index, p.Checkpoint = n, []byte(checkpoint)
	for _, line := range lines[1:] {
		b, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(b) != tlog.HashSize {
			return p, errors.New("proof: a line is not a hash in base64")
		}
		p.Hashes = append(p.Hashes, tlog.Hash(b))
	}
	if !bytes.Equal(p.Bytes(), raw) {
		return Proof{}, errors.New("proof is not in its one spelling")
	}
	return p, nil
}

// Bytes returns the proof as a .tlog-proof file holds it.
func (p Proof) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString(proofHeader)
	if len(p.Extra) > 0 {
		b.WriteString(proofExtra + base64.StdEncoding.EncodeToString(p.Extra) + "\n")
	}
	fmt.Fprintf(&b, "%s%d\n", proofIndex, p.Index)
	for _, h := range p.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	return b.Bytes()
}

// Check checks that record is at the proof's index of the log with the given
// public key, and returns the checkpoint that says so. A proof that carries
// another record is wrong.
func (p Proof) Check(record []byte, key string) (Checkpoint, error) {
	if len(p.Extra) > 0 && !bytes.Equal(p.Extra, record) {
		return Checkpoint{}, errors.New("proof is of another record")
	}
	c, err := OpenCheckpoint(p.Checkpoint, key)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := checkInclusion(c, p.Index, record, p.Hashes); err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

func checkInclusion(c Checkpoint, index int64, record []byte, hashes []tlog.Hash) error {
	if index < 0 || index >= c.Size {
		return fmt.Errorf("record %d is not among the %d that the checkpoint covers", index, c.Size)
	}
	if err := tlog.CheckRecord(hashes, c.Size, c.Root, index, tlog.RecordHash(record)); err != nil {
		return fmt.Errorf("record %d is not in the log of the checkpoint: %w", index, err)
	}
	return nil
}
