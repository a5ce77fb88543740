package attest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/verify"
)

func someStatements(t testing.TB) []Unsigned {
	t.Helper()
	subject := []verify.Resource{{Name: "f", Digest: map[string]string{verify.DigestSHA256: strings.Repeat("a", 64)}}}
	u, err := NewUnsigned(verify.TypeEvidence, subject, verify.Evidence{Log: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return []Unsigned{u}
}

func granted(t testing.TB, a carrel.Action, effect func(gate.Grant) error) error {
	t.Helper()
	g, _ := gatetest.AllowAll()
	_, err := g.Do(context.Background(), a, func(_ context.Context, grant gate.Grant) (carrel.Outcome, error) {
		return carrel.Outcome{}, effect(grant)
	})
	return err
}

func TestKeyIsMadeOnceAndPrivate(t *testing.T) {
	keys := OpenKeys(filepath.Join(t.TempDir(), "keys"))
	if _, err := keys.Public(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key before there is one: %v", err)
	}
	var group sync.WaitGroup
	ids := make([]carrel.Digest, 8)
	for i := range ids {
		group.Go(func() {
			s, err := keys.Signer()
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = s.Public().ID
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("several keys were made: %v", ids)
		}
	}
	info, err := os.Stat(keys.Path())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, %v", info.Mode(), err)
	}
	public, err := os.ReadFile(filepath.Join(filepath.Dir(keys.Path()), publicFile))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := verify.ParsePublicKey(public); err != nil || p.ID != ids[0] {
		t.Errorf("the public half beside it is of %s, %v", p.ID, err)
	}
}

// A key that others could know signs nothing.
func TestKeyThatOthersCouldReadIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(keys Keys) error{
		"readable by the group": func(k Keys) error { return os.Chmod(k.Path(), 0o640) },
		"readable by all":       func(k Keys) error { return os.Chmod(k.Path(), 0o644) },
		"a link": func(k Keys) error {
			return errors.Join(os.Rename(k.Path(), k.Path()+".real"), os.Symlink(k.Path()+".real", k.Path()))
		},
		"a second name": func(k Keys) error { return os.Link(k.Path(), k.Path()+".other") },
		"not a key":     func(k Keys) error { return os.WriteFile(k.Path(), []byte("x"), 0o600) },
		"empty":         func(k Keys) error { return os.Truncate(k.Path(), 0) },
		"a directory": func(k Keys) error {
			return errors.Join(os.Remove(k.Path()), os.Mkdir(k.Path(), 0o700))
		},
		"too long": func(k Keys) error { return os.WriteFile(k.Path(), bytes.Repeat([]byte("x"), maxKey+1), 0o600) },
	} {
		keys := OpenKeys(filepath.Join(t.TempDir(), "keys"))
		if _, err := keys.Signer(); err != nil {
			t.Fatal(err)
		}
		if err := spoil(keys); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Signer(); err == nil {
			t.Errorf("%s: it is used", name)
		}
	}
}

func TestKeyInAWorkspaceIsRefused(t *testing.T) {
	workspace := t.TempDir()
	inside := OpenKeys(filepath.Join(workspace, "state", "keys"))
	if _, err := inside.Signer(workspace); err == nil {
		t.Error("a key would be made in the workspace")
	}
	if _, err := os.Stat(inside.Path()); err == nil {
		t.Error("a key was made in the workspace")
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.MkdirAll(filepath.Join(workspace, "state", "keys"), 0o700), os.Symlink(filepath.Join(workspace, "state"), link)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys(filepath.Join(link, "keys")).Signer(workspace); err == nil {
		t.Error("a key would be made in the workspace, through a link")
	}
	if _, err := OpenKeys(filepath.Join(t.TempDir(), "keys")).Signer(workspace, workspace+"-not"); err != nil {
		t.Errorf("beside the workspace: %v", err)
	}
}

func TestSignNeedsItsGrant(t *testing.T) {
	signer, err := OpenKeys(filepath.Join(t.TempDir(), "keys")).Signer()
	if err != nil {
		t.Fatal(err)
	}
	statements := someStatements(t)
	a := Action("", "chg_x", signer.Public(), statements)
	signed := 0
	gatetest.Contract(t, gatetest.Effect{
		Name: "Sign", Action: a,
		Call: func(ctx context.Context, g gate.Grant) error {
			out, err := Sign(ctx, g, a, signer, statements)
			signed += len(out)
			return err
		},
		Happened: func() bool { return signed > 0 },
	})
}

// What is signed is what was announced, no more and no other.
func TestSignKeepsToTheAction(t *testing.T) {
	signer, err := OpenKeys(filepath.Join(t.TempDir(), "keys")).Signer()
	if err != nil {
		t.Fatal(err)
	}
	statements := someStatements(t)
	a := Action("", "chg_x", signer.Public(), statements)
	other := []Unsigned{{statements[0].Type, append([]byte{}, statements[0].Payload...)}}
	other[0].Payload[len(other[0].Payload)-3] ^= 1
	for name, try := range map[string][]Unsigned{"another": other, "one more": append(statements, other...), "none": nil} {
		err := granted(t, a, func(g gate.Grant) error {
			_, err := Sign(context.Background(), g, a, signer, try)
			return err
		})
		if !errors.Is(err, gate.ErrNoGrant) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err = granted(t, a, func(g gate.Grant) error {
		bundles, err := Sign(context.Background(), g, a, signer, statements)
		if err != nil {
			return err
		}
		b, err := verify.ParseBundle(bundles[0])
		if err == nil {
			_, err = b.Verify(signer.Public())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRotateNeedsItsGrant(t *testing.T) {
	keys := OpenKeys(filepath.Join(t.TempDir(), "keys"))
	before, err := keys.Signer()
	if err != nil {
		t.Fatal(err)
	}
	a := carrel.Action{Operation: carrel.OpRevoke, Subject: string(before.Public().ID)}
	gatetest.Contract(t, gatetest.Effect{
		Name: "Rotate", Action: a,
		Call: func(ctx context.Context, g gate.Grant) error {
			_, err := keys.Rotate(ctx, g, a, time.Now())
			return err
		},
		Happened: func() bool {
			now, err := keys.Public()
			return err != nil || now.ID != before.Public().ID
		},
	})
	retired, err := keys.Retired()
	if err != nil || len(retired) != 1 || retired[0].ID != before.Public().ID {
		t.Errorf("retired: %v, %v", retired, err)
	}
	if content, err := os.ReadFile(keys.Path()); err != nil || bytes.Contains(content, []byte(before.Public().ID.Hex())) {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Dir(keys.Path()))
	if err != nil || len(entries) != 3 { // key, public half, retired public half
		t.Errorf("%v, %v", entries, err)
	}
}

// A program of the user's signs as well as a key of Carrel's, and what it says
// is checked.
func TestSigningCommand(t *testing.T) {
	needs.Tool(t, "openssl")
	dir := t.TempDir()
	own := OpenKeys(filepath.Join(dir, "keys"))
	signer, err := own.Signer()
	if err != nil {
		t.Fatal(err)
	}
	other, err := OpenKeys(filepath.Join(dir, "other")).Signer()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + os.Getenv("PATH")}
	statements := someStatements(t)
	for name, c := range map[string]struct {
		command Command
		want    bool
	}{
		"openssl":               {Command{Argv: []string{"openssl", "dgst", "-sha256", "-sign", own.Path()}, Key: signer.Public(), Env: env}, true},
		"another key's program": {Command{Argv: []string{"openssl", "dgst", "-sha256", "-sign", own.Path()}, Key: other.Public(), Env: env}, false},
		"no signature":          {Command{Argv: []string{"cat"}, Key: signer.Public(), Env: env}, false},
		"nothing":               {Command{Argv: []string{"true"}, Key: signer.Public(), Env: env}, false},
		"a failure":             {Command{Argv: []string{"false"}, Key: signer.Public(), Env: env}, false},
		"no program":            {Command{Argv: []string{"/nonexistent"}, Key: signer.Public(), Env: env}, false},
		"no command":            {Command{Key: signer.Public()}, false},
		"endless words":         {Command{Argv: []string{"yes"}, Key: signer.Public(), Env: env}, false},
	} {
		a := Action("", "chg_x", c.command.Key, statements)
		err := granted(t, a, func(g gate.Grant) error {
			_, err := Sign(context.Background(), g, a, c.command, statements)
			return err
		})
		if (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
