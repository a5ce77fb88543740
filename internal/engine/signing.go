//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/verify"
)

// IdentityKeys are the public keys others need to check this installation.
type IdentityKeys struct {
	Key     carrel.Digest   `json:"key,omitempty"` // of attestations; empty if there is none yet
	PEM     string          `json:"pem,omitempty"`
	Where   string          `json:"where"` // the private half
	Retired []carrel.Digest `json:"retired"`
	Log     string          `json:"log_key,omitempty"`
}

// IdentityShow prints the keys that others check this installation's
// attestations and log with. It makes nothing.
func (e *Engine) IdentityShow(asJSON bool) error {
	keys, err := e.identityKeys()
	if err != nil {
		return err
	}
	if asJSON {
		return e.printJSON(keys)
	}
	w := e.host.Stdout
	if keys.Key == "" {
		fmt.Fprintf(w, "attestation key: none yet; the first apply makes one, and so does carrel identity export\n")
	} else {
		fmt.Fprintf(w, "attestation key: %s\n  private half: %s\n", keys.Key, terminal.Escape(keys.Where))
	}
	for _, r := range keys.Retired {
		fmt.Fprintf(w, "  retired: %s\n", r)
	}
	if keys.Log == "" {
		fmt.Fprintf(w, "log key: none yet; the first run makes one\n")
	} else {
		fmt.Fprintf(w, "log key: %s\n", keys.Log)
	}
	return nil
}

func (e *Engine) identityKeys() (IdentityKeys, error) {
	out := IdentityKeys{Where: e.keys().Path(), Retired: []carrel.Digest{}}
	key, err := e.publicKey()
	switch {
	case err == nil:
		out.Key, out.PEM = key.ID, string(key.PEM())
	case !errors.Is(err, fs.ErrNotExist):
		return out, err
	}
	if cfg, err := e.userSettings(); err == nil && cfg.Signing.IsSet() {
		out.Where = fmt.Sprintf("with %q (%s)", cfg.Signing.Value.Command[0], cfg.Signing.Origin)
	}
	retired, err := e.keys().Retired()
	if err != nil {
		return out, err
	}
	for _, r := range retired {
		out.Retired = append(out.Retired, r.ID)
	}
	out.Log, err = audit.PublicKey(e.state("keys"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	return out, nil
}

// publicKey is the key that signs now: the signing command's, or Carrel's own.
func (e *Engine) publicKey() (verify.PublicKey, error) {
	cfg, err := e.userSettings()
	if err != nil {
		return verify.PublicKey{}, err
	}
	if cfg.Signing.IsSet() {
		return readPublicKey(cfg.Signing.Value.PublicKey)
	}
	return e.keys().Public()
}

// IdentityExport writes both public keys, for others to trust, into dir, or
// prints them. It makes the attestation key if there is none.
func (e *Engine) IdentityExport(ctx context.Context, dir string) error {
	if _, err := e.openLog(); err != nil { // makes the log's key
		return err
	}
	signer, err := e.signer()
	if err != nil {
		return err
	}
	logKey, err := audit.PublicKey(e.state("keys"))
	if err != nil {
		return err
	}
	a := carrel.Action{Operation: carrel.OpPolicy, Subject: "identity:export", SubjectDigest: signer.Public().ID, Reason: carrel.Text("with the log's key " + logKey)}
	return e.operate(ctx, a, func(context.Context) (carrel.Outcome, error) {
		return carrel.Outcome{Facts: map[string]carrel.Text{"directory": carrel.Text(dir)}}, e.writeKeys(dir, signer.Public().PEM(), []byte(logKey+"\n"))
	})
}

func (e *Engine) writeKeys(dir string, pem, vkey []byte) error {
	if dir == "" {
		_, err := fmt.Fprintf(e.host.Stdout, "%s%s", pem, vkey)
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{verify.KeyFile: pem, verify.LogKeyFile: vkey} {
		if err := putFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("exporting the keys: %w", err)
		}
	}
	_, err := fmt.Fprintf(e.host.Stdout, "wrote %s and %s to %s; give them to those who check, by a way they trust\n", verify.KeyFile, verify.LogKeyFile, terminal.Escape(dir))
	return err
}

// IdentityRotate makes a new attestation key. The old private half is
// destroyed; what it signed stays right, by its public half.
func (e *Engine) IdentityRotate(ctx context.Context, asJSON bool) error {
	cfg, err := e.userSettings()
	if err != nil {
		return err
	}
	if cfg.Signing.IsSet() {
		return fmt.Errorf("%s: attestations are signed by a command; rotate its key there, and change public_key", cfg.Signing.Origin)
	}
	op, err := e.operator(ctx, "")
	if err != nil {
		return err
	}
	before, err := e.keys().Public()
	if errors.Is(err, fs.ErrNotExist) {
		return &hintError{errors.New("there is no attestation key yet"), "carrel identity export makes one"}
	}
	subject := "attestation key"
	if err == nil { // one that cannot be read is rotated away, too
		subject = string(before.ID)
	}
	a := carrel.Action{Operation: carrel.OpRevoke, Subject: subject, Reason: "rotated"}
	var fresh verify.PublicKey
	_, err = op.gate.Do(ctx, a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		var rerr error
		fresh, rerr = e.keys().Rotate(ctx, g, a, time.Now())
		return carrel.Outcome{Facts: map[string]carrel.Text{"key": carrel.Text(fresh.ID)}}, rerr
	})
	if err != nil {
		return err
	}
	if asJSON {
		return e.printJSON(map[string]any{"key": fresh.ID, "retired": subject})
	}
	_, err = fmt.Fprintf(e.host.Stdout, "attestations are signed with key %s from now on\n  next: carrel identity export, and give it to those who check\n", fresh.ID)
	return err
}
