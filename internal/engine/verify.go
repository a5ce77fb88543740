package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/verify"
)

// archiveSuffix is how the name of a packed directory of evidence ends.
const archiveSuffix = ".tar.zst"

// VerifyOptions are the flags of verify.
type VerifyOptions struct {
	Keys     []string // files of public keys that are trusted
	LogKey   string   // file of the log's key that is trusted
	Policy   string   // Rego that must allow what was proved
	Artifact string   // file that an attestation must be about, or a proof of
	// Witnesses is a file that says whose cosignatures every checkpoint needs.
	Witnesses string
	Every     bool // of a range every commit must be attested
	JSON      bool
}

// Verdict is what verify prints with --json.
type Verdict struct {
	OK      bool              `json:"ok"`
	Target  string            `json:"target"`
	Kind    string            `json:"kind"` // pack, records, commit, commits, attestation or proof
	Key     carrel.Digest     `json:"key,omitempty"`
	LogKey  string            `json:"log_key,omitempty"` // of a proof
	Trusted bool              `json:"key_trusted"`
	Error   string            `json:"error,omitempty"`
	Proved  []string          `json:"proved"`
	Missing []string          `json:"not_proved"`
	Policy  *PolicyVerdict    `json:"policy,omitempty"`
	Sets    []verify.Document `json:"attested,omitempty"`
	Commits []CommitVerdict   `json:"commits,omitempty"` // of a range, oldest first
	// Cosigned is who cosigned the checkpoints, as far as anybody asked.
	Cosigned []CosignedBy    `json:"cosigned,omitempty"`
	Record   json.RawMessage `json:"record,omitempty"` // of a proof
}

// CosignedBy is a cosignature, and how many records the log had then.
type CosignedBy struct {
	Size int64 `json:"size"`
	verify.Cosignature
}

// verifying is one call of verify.
type verifying struct {
	host        Host
	opts        VerifyOptions
	trust       verify.Trust
	own         bool                // the trusted key is this machine's own
	rule        *witnessRule        // that the user named
	checkpoints int                 // whose cosignatures were looked at
	witnessed   map[string][]string // key of a log: who cosigned every checkpoint of it so far
	out         Verdict
}

// Verify checks an evidence pack, the attestations of a commit or of a range
// of commits, one attestation, or a proof that the log has a record, and says
// what that proves. It needs no state; where this machine has keys of its own
// they count as trusted, unless others are named.
func Verify(ctx context.Context, host Host, target string, opts VerifyOptions) error {
	v := &verifying{host: host, opts: opts, out: Verdict{Target: target, Proved: []string{}, Missing: []string{}}}
	err := v.check(ctx, target)
	if err == nil {
		err = v.mustHaveMet()
	}
	var told interface{ Hint() string }
	if errors.Is(err, verify.ErrUntrusted) && !errors.As(err, &told) {
		err = &hintError{err, "if you trust it, name its public key: --key FILE, once for each; --log-key FILE for a log's"}
	}
	v.out.OK = err == nil
	if opts.JSON {
		if err != nil {
			v.out.Error = err.Error()
		}
		return errors.Join(err, (&Records{host}).printJSON(v.out))
	}
	v.tell()
	return err
}

func (v *verifying) check(ctx context.Context, target string) error {
	if err := errors.Join(v.readTrust(), v.readWitnesses()); err != nil {
		return err
	}
	path := target
	if !filepath.IsAbs(path) {
		path = filepath.Join(v.host.Cwd, path)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil:
		if err := v.onlyFile(ctx, target); err != nil {
			return err
		}
		return v.file(path, info)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case v.opts.Artifact != "":
		return noArtifact
	}
	if from, to, ok := rangeOf(target); ok {
		return v.commits(ctx, from, to)
	}
	if v.opts.Every {
		return &hintError{misused("--every is about a range of commits"), "carrel verify BASE..HEAD --every"}
	}
	return v.commit(ctx, target)
}

var noArtifact = &hintError{misused("--artifact says what one attestation or one proof is about"), "carrel verify FILE" + verify.BundleSuffix + " --artifact FILE"}

// file checks what a file or a directory holds.
func (v *verifying) file(path string, info fs.FileInfo) error {
	switch {
	case !info.IsDir() && strings.HasSuffix(path, verify.BundleSuffix):
		return v.attestation(path)
	case !info.IsDir() && strings.HasSuffix(path, verify.ProofSuffix):
		return v.proof(path)
	case v.opts.Artifact != "":
		return noArtifact
	case v.opts.Every:
		return &hintError{misused("--every is about a range of commits"), "carrel verify BASE..HEAD --every"}
	}
	return v.pack(path)
}

// onlyFile refuses the name of a file that is one of commits, too. Where a
// merge is decided the tree is the proposal's, and a good pack of another
// change that lies there as "HEAD" or "origin/main..HEAD" must not be checked
// in place of the commits.
func (v *verifying) onlyFile(ctx context.Context, target string) error {
	if filepath.IsAbs(target) || strings.HasPrefix(target, ".") { // as no commit is called
		return nil
	}
	names := []string{target}
	from, to, isRange := rangeOf(target)
	if isRange {
		names = []string{from, to}
	}
	repo, err := git.Open(ctx, v.host.Cwd)
	if errors.Is(err, git.ErrNotRepository) && target != "HEAD" && !isRange {
		return nil
	}
	if err != nil {
		return &hintError{fmt.Errorf("whether %q is a commit, too: %w", target, err), "./" + target + " is the file"}
	}
	for _, name := range names {
		if _, err := repo.Resolve(ctx, name); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return &hintError{fmt.Errorf("%q is a file here and names commits, too", target),
		"./" + target + " is the file; commits have other names: refs/heads/BRANCH, refs/remotes/origin/BRANCH, HEAD^0"}
}

// tell says in words what was proved, by which key, and what was not.
func (v *verifying) tell() {
	w := v.host.Stdout
	list := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		fmt.Fprintln(w, title)
		for _, l := range lines {
			fmt.Fprintf(w, "  - %s\n", terminal.Escape(l))
		}
	}
	whose := "which came with it"
	if v.own {
		whose = "this machine's own"
	} else if v.out.Trusted {
		whose = "which you trust"
	}
	if v.out.Key != "" {
		fmt.Fprintf(w, "key %s, %s\n", v.out.Key, whose)
	}
	if v.out.LogKey != "" {
		fmt.Fprintf(w, "log key %s, %s\n", terminal.Escape(v.out.LogKey), whose)
	}
	v.tellCommits()
	list("proved", v.out.Proved)
	list("not proved", v.out.Missing)
	if v.out.Policy != nil && v.out.Policy.Allowed {
		fmt.Fprintf(w, "allowed by %s\n", terminal.Escape(v.opts.Policy))
	}
	if v.out.OK {
		fmt.Fprintln(w, "ok")
	}
}
