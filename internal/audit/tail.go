package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// tail is where the log ends: what an appender must know, so that it need not
// read the log. It is written after each batch and not made durable by itself;
// recover brings it up to date from the segments.
type tail struct {
	Version int    `json:"v"`
	Size    int64  `json:"size"`    // records
	Segment int64  `json:"segment"` // index of the first record of the last segment
	Offset  int64  `json:"offset"`  // length of the last segment
	Peaks   []byte `json:"peaks"`   // of the tree, one hash after the other
	Synced  int64  `json:"synced"`  // hashes and index are durable up to this record
	Boot    string `json:"boot"`    // the machine's boot when this was written
	WallUS  int64  `json:"wall_us"`
	BootUS  int64  `json:"boot_us"`
}

// maxTail bounds the tail file: 53 peaks and a few numbers are below it.
const maxTail = 4096

const tailFile = "tail"

// seal encodes v as one line that tells a torn or damaged copy of itself from
// a whole one.
func seal(v any) ([]byte, error) {
	body, err := carrel.Canonical(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	out := append(hex.AppendEncode(nil, sum[:16]), ' ')
	return append(append(out, body...), '\n'), nil
}

var errSeal = errors.New("damaged")

// unseal decodes what seal made, ignoring what follows the line.
func unseal(b []byte, v any) error {
	line, _, ok := bytes.Cut(b, []byte("\n"))
	sum, body, ok2 := bytes.Cut(line, []byte(" "))
	if !ok || !ok2 {
		return errSeal
	}
	want := sha256.Sum256(body)
	if string(sum) != hex.EncodeToString(want[:16]) {
		return errSeal
	}
	return carrel.Decode(body, v)
}

func (t *tail) tree() (verify.Tree, error) {
	if len(t.Peaks)%tlog.HashSize != 0 {
		return verify.Tree{}, errSeal
	}
	var peaks []tlog.Hash
	for p := t.Peaks; len(p) > 0; p = p[tlog.HashSize:] {
		peaks = append(peaks, tlog.Hash(p[:tlog.HashSize]))
	}
	return verify.NewTree(t.Size, peaks)
}

// grown makes the tail that of the given tree.
func (t *tail) grown(tree *verify.Tree) {
	t.Size, t.Peaks = tree.Size(), t.Peaks[:0]
	for _, p := range tree.Peaks() {
		t.Peaks = append(t.Peaks, p[:]...)
	}
}

func (t *tail) check() error {
	switch {
	case t.Version != 1:
		return fmt.Errorf("the log was written by another release (tail version %d); use that release", t.Version)
	case t.Size < 0 || t.Segment < 0 || t.Segment > t.Size || t.Offset < 0 || t.Synced < 0 || t.Synced > t.Size:
		return errSeal
	}
	_, err := t.tree()
	return err
}
