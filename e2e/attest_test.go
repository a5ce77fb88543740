//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
)

// approvedChange runs an agent and approves what it made; it returns the
// change's id.
func (h *host) approvedChange(n int) string {
	h.Helper()
	h.inside("echo " + strconv.Itoa(n) + " > file-" + strconv.Itoa(n))
	out := h.must("review", "--json").out
	var review struct {
		ID string `json:"change"`
	}
	if err := json.Unmarshal([]byte(out), &review); err != nil || !strings.HasPrefix(review.ID, "chg_") {
		h.Fatalf("review --json: %v: %s", err, out)
	}
	h.must("approve", "--reason", "crash")
	return review.ID
}

// kept returns how many whole sets of attestations of a change are kept.
func (h *host) kept(change string) int {
	h.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "state/carrel/attestations", change, "act_*.jsonl"))
	if err != nil {
		h.Fatal(err)
	}
	return len(files)
}

// An apply is killed at moments spread over all of it. What it had said was
// done is in the log, attested and provable; the rest can be done again; and
// the log is right every time.
func TestNothingAcknowledgedIsLostWhenAnApplyIsKilled(t *testing.T) {
	h := asUser(t)
	rounds := 12
	if n, err := strconv.Atoi(os.Getenv("CARREL_CRASHES")); err == nil {
		rounds = n
	}
	took := h.timeApply()
	acknowledged := 0
	for i := range rounds {
		change := h.approvedChange(i)
		branch := "work-" + strconv.Itoa(i)
		said := h.killedApply(time.Duration(i+1)*took*5/4/time.Duration(rounds), "apply", "--branch", branch)
		h.must("log", "verify")
		if strings.Contains(said, "applied "+change) {
			acknowledged++
			if h.kept(change) == 0 {
				t.Errorf("round %d: it said %q, and nothing is attested", i, said)
			}
			h.must("verify", branch)
		}
		h.finishApply(change, branch+"-again")
		pack := filepath.Join(h.dir, "pack-"+strconv.Itoa(i))
		h.must("evidence", "latest", "-o", pack)
		if r := h.must("verify", pack); strings.Contains(r.out, "it is not attested") {
			t.Errorf("round %d: the pack has no attestation: %s", i, r)
		}
	}
	t.Logf("%d applies killed within %v, %d of them after they had said that all was done", rounds, took, acknowledged)
}

// timeApply is how long an apply takes that nobody kills.
func (h *host) timeApply() time.Duration {
	h.Helper()
	h.approvedChange(1000)
	return h.must("apply", "--branch", "calm").took
}

func (h *host) killedApply(after time.Duration, args ...string) (said string) {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := h.command(ctx, carrelBin, args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	time.Sleep(after)
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	return out.String()
}

// finishApply does what a user would after a crash: apply again, or, where it
// was applied already, attest again.
func (h *host) finishApply(change, branch string) {
	h.Helper()
	if r := h.carrel("apply", change, "--branch", branch); r.code != 0 && !strings.Contains(r.err, "was applied") {
		h.Errorf("applying again: %s", r)
	}
	h.must("attest", change)
}

// Where attesting fails the change is applied all the same, the user is told,
// and it can be made up for.
func TestApplyThatCannotBeAttested(t *testing.T) {
	for name, c := range map[string]struct {
		spoil, mend func(h *host) error
	}{
		"attestations cannot be kept": {
			func(h *host) error {
				return os.WriteFile(filepath.Join(h.dir, "state/carrel/attestations"), nil, 0o600)
			},
			func(h *host) error { return os.Remove(filepath.Join(h.dir, "state/carrel/attestations")) },
		},
		"the key can be read by others": {
			func(h *host) error { return os.Chmod(filepath.Join(h.dir, "state/carrel/keys/attestation.key"), 0o644) },
			func(h *host) error { return os.Chmod(filepath.Join(h.dir, "state/carrel/keys/attestation.key"), 0o600) },
		},
		"the notes are locked": {
			func(h *host) error {
				dir := filepath.Join(h.repo, ".git/refs/notes")
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return err
				}
				return os.WriteFile(filepath.Join(dir, "carrel.lock"), nil, 0o600)
			},
			func(h *host) error { return os.RemoveAll(filepath.Join(h.repo, ".git/refs/notes")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := asUser(t)
			h.must("identity", "export", "-o", filepath.Join(h.dir, "keys"))
			change := h.approvedChange(1)
			if err := c.spoil(h); err != nil {
				t.Fatal(err)
			}
			r := h.carrel("apply", "--branch", "work")
			if r.code != 1 || !strings.Contains(r.out, "applied "+change) || !strings.Contains(r.err, "is not attested") || !strings.Contains(r.err, "carrel attest "+change) {
				t.Errorf("apply: %s", r)
			}
			if got := h.git("show", "work:file-1"); strings.TrimSpace(got) != "1" {
				t.Errorf("the branch has %q", got)
			}
			if err := c.mend(h); err != nil {
				t.Fatal(err)
			}
			h.must("attest", change)
			h.must("verify", "work")
			h.must("log", "verify")
		})
	}
}

// A signing command takes the place of the key.
func TestSigningCommandAttests(t *testing.T) {
	needs.Tool(t, "openssl")
	h := asUser(t)
	key, public := filepath.Join(h.dir, "token.pem"), filepath.Join(h.dir, "token.pub")
	for _, args := range [][]string{{"ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key}, {"ec", "-in", key, "-pubout", "-out", public}} {
		if r := h.start("", "openssl", args...); r.code != 0 {
			t.Fatal(r)
		}
	}
	h.write("config/carrel/config.yaml", "signing:\n  command: [openssl, dgst, -sha256, -sign, "+key+"]\n  public_key: "+public+"\n")
	h.approvedChange(1)
	h.must("apply", "--branch", "work")
	r := h.must("verify", "work", "--key", public)
	if !strings.Contains(r.out, "which you trust") {
		t.Error(r)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "state/carrel/keys/attestation.key")); err == nil {
		t.Error("a key was made although a command signs")
	}
}

// The key that signs is nowhere an agent can look, and nothing inside answers
// that could sign.
func TestAttackSigningKeyIsOutOfReach(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.must("identity", "export", "-o", filepath.Join(h.dir, "keys"))
		secret, err := os.ReadFile(filepath.Join(h.dir, "state/carrel/keys/attestation.key"))
		if err != nil {
			h.Fatal(err)
		}
		line := strings.Split(string(secret), "\n")[1]
		script := "cat " + filepath.Join(h.dir, "state/carrel/keys/attestation.key") + " /proc/*/environ 2>/dev/null; " +
			"for fd in /proc/self/fd/* /proc/1/fd/*; do ls -l $fd; done 2>/dev/null; env; " +
			"grep -rls '" + line[:20] + "' /home /root /run /tmp /var /workspace 2>/dev/null | head; echo looked"
		r := h.inside(script)
		if strings.Contains(r.out, line) || strings.Contains(r.out, "attestation.key") && !strings.Contains(r.out, "No such file") || !strings.Contains(r.out, "looked") {
			h.Errorf("%s", r)
		}
	})
}
