package witness

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/verify"
)

const sizeType = "text/x.tlog.size"

// parseSize reads the size that a witness knows: decimal digits and a newline.
func parseSize(got reply) (int64, error) {
	media, _, err := mime.ParseMediaType(got.contentType)
	if err != nil || media != sizeType {
		return 0, fmt.Errorf("the witness answered with a conflict that is no %s", sizeType)
	}
	text, ok := strings.CutSuffix(string(got.body), "\n")
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || n < 0 || n > 1<<53-1 || strconv.FormatInt(n, 10) != text {
		return 0, errors.New("the witness answered with a conflict that names no size")
	}
	return n, nil
}

// Cosignature returns the one line of an answer in which the witness cosigned
// the text of a checkpoint, and when. Lines of other keys are left out; a wrong
// one of this key, a second one, or one that was not made now is an error.
func Cosignature(w verify.Witness, text string, answer []byte, now time.Time) ([]byte, time.Time, error) {
	body, ok := strings.CutSuffix(string(answer), "\n")
	if !ok {
		return nil, time.Time{}, errors.New("the witness's answer is not whole lines")
	}
	var line string
	var at time.Time
	for l := range strings.SplitSeq(body, "\n") {
		name, raw, err := parseLine(l)
		if err != nil {
			return nil, time.Time{}, err
		}
		if name != w.Name() || binary.BigEndian.Uint32(raw) != w.KeyHash() {
			continue
		}
		if line != "" {
			return nil, time.Time{}, errors.New("the witness cosigned twice in one answer")
		}
		if !w.Verify([]byte(text), raw[4:]) {
			return nil, time.Time{}, errors.New("the witness's cosignature is wrong: it is not by its key, or not of this checkpoint")
		}
		line, at = l+"\n", time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC()
	}
	switch {
	case line == "":
		return nil, time.Time{}, errors.New("the witness answered without a cosignature by its key")
	case at.After(now.Add(maxSkew)) || at.Before(now.Add(-maxSkew)):
		return nil, time.Time{}, fmt.Errorf("the witness's cosignature is of %s, and it is %s: it is an old one sent again, or a clock is wrong", at.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return []byte(line), at, nil
}

// parseLine reads a signature line of a signed note: "— name base64(hash,
// signature)".
func parseLine(l string) (name string, raw []byte, err error) {
	rest, ok := strings.CutPrefix(l, "— ")
	name, encoded, ok2 := strings.Cut(rest, " ")
	raw, err = base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || !ok2 || name == "" || err != nil || len(raw) < 5 || base64.StdEncoding.EncodeToString(raw) != encoded {
		return "", nil, errors.New("the witness's answer is not made of signature lines")
	}
	return name, raw, nil
}
