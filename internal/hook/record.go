package hook

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel"
)

const (
	maxWord  = 1000 // bytes of one argument that are recorded as they are
	maxWords = 10   // arguments so long that are
)

// Recordable cuts a command line to what a record can hold: of a long
// argument, such as a prompt, the beginning and the digest of the whole.
func Recordable(command []string) []carrel.Text {
	out := make([]carrel.Text, 0, len(command))
	left := maxWord * maxWords
	for i, word := range command {
		if left <= 0 {
			rest := carrel.DigestBytes([]byte(strings.Join(command[i:], "\x00")))
			return append(out, carrel.Text(fmt.Sprintf("… %d more (%s)", len(command)-i, rest)))
		}
		if len(word) > maxWord {
			word = fmt.Sprintf("%s… (%d bytes, %s)", strings.ToValidUTF8(word[:maxWord], "\ufffd"), len(word), carrel.DigestBytes([]byte(word)))
		}
		left -= len(word) + 8
		out = append(out, carrel.Text(word))
	}
	return out
}
