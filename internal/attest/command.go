package attest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/verify"
)

const (
	// maxHold bounds how long after the program's end its output may be held
	// open: another child of Carrel that is being started may hold it for
	// seconds on a machine that is busy.
	maxHold     = 20 * time.Second
	commandTime = 2 * time.Minute // as long as a person looks for a token
	maxSaid     = 16 << 10        // bytes of what a signing command may say
)

// Command signs by a program of the user's, which holds the key or reaches
// who does: it reads the message on its standard input and writes the
// signature, ECDSA in ASN.1 over the message's SHA-256, to its standard output.
type Command struct {
	Argv []string
	Key  verify.PublicKey
	Env  []string // its whole environment
}

// Public implements Signer.
func (c Command) Public() verify.PublicKey { return c.Key }

// Sign implements Signer.
func (c Command) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("no signing command")
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Stdin, cmd.Env, cmd.Dir, cmd.WaitDelay = bytes.NewReader(message), c.Env, "/", maxHold
	out, said := &bounded{limit: maxSaid}, &bounded{limit: maxSaid}
	cmd.Stdout, cmd.Stderr = out, said
	if err := cmd.Run(); err != nil {
		if words := strings.TrimSpace(said.buf.String()); words != "" {
			err = fmt.Errorf("%w: %s", err, words)
		}
		return nil, fmt.Errorf("signing with %s: %w", c.Argv[0], err)
	}
	return out.buf.Bytes(), nil
}

// bounded keeps the first bytes it is given, and fails past them. It has no
// other way in than Write.
type bounded struct {
	buf   bytes.Buffer
	limit int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("more than %d bytes of output", b.limit)
	}
	return b.buf.Write(p)
}
