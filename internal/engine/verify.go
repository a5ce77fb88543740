package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/attest"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/verify"
)

// VerifyOptions are the flags of verify.
type VerifyOptions struct {
	Keys     []string // files of public keys that are trusted
	LogKey   string   // file of the log's key that is trusted
	Policy   string   // Rego that must allow what was proved
	Artifact string   // file that an attestation must be about
	JSON     bool
}

// Verdict is what verify prints with --json.
type Verdict struct {
	OK      bool              `json:"ok"`
	Target  string            `json:"target"`
	Kind    string            `json:"kind"` // pack, commit or attestation
	Key     carrel.Digest     `json:"key,omitempty"`
	Trusted bool              `json:"key_trusted"`
	Error   string            `json:"error,omitempty"`
	Proved  []string          `json:"proved"`
	Missing []string          `json:"not_proved"`
	Policy  *PolicyVerdict    `json:"policy,omitempty"`
	Sets    []verify.Document `json:"attested,omitempty"`
}

// PolicyVerdict is what a policy said to everything that was proved.
type PolicyVerdict struct {
	Allowed bool     `json:"allowed"`
	Rules   []string `json:"rules"`
	Reason  string   `json:"reason,omitempty"`
}

// verifying is one call of verify.
type verifying struct {
	host  Host
	opts  VerifyOptions
	trust verify.Trust
	own   bool // the trusted key is this machine's own
	out   Verdict
}

// Verify checks an evidence pack, the attestations of a commit, or one
// attestation, and says what that proves. It needs no state; where this
// machine has keys of its own they count as trusted, unless others are named.
func Verify(ctx context.Context, host Host, target string, opts VerifyOptions) error {
	v := &verifying{host: host, opts: opts, out: Verdict{Target: target, Proved: []string{}, Missing: []string{}}}
	err := v.check(ctx, target)
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
	if err := v.readTrust(); err != nil {
		return err
	}
	path := target
	if !filepath.IsAbs(path) {
		path = filepath.Join(v.host.Cwd, path)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir() && strings.HasSuffix(path, verify.BundleSuffix):
		return v.attestation(path)
	case err == nil:
		return v.pack(path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return v.commit(ctx, target)
}

// readTrust reads the keys the user names, or finds this machine's own.
func (v *verifying) readTrust() error {
	for _, path := range v.opts.Keys {
		key, err := readPublicKey(path)
		if err != nil {
			return fmt.Errorf("--key: %w", err)
		}
		v.trust.Keys = append(v.trust.Keys, key)
	}
	if v.opts.LogKey != "" {
		text, err := readBounded(v.opts.LogKey, 4<<10)
		if err != nil {
			return fmt.Errorf("--log-key: %w", err)
		}
		v.trust.Log = strings.TrimSuffix(string(text), "\n")
	}
	return nil
}

// ownKeys are the public keys of this installation, if it has any.
func (v *verifying) ownKeys() []verify.PublicKey {
	keys := attest.OpenKeys(filepath.Join(v.host.Paths.State, "keys"))
	own, err := keys.Retired()
	if err != nil {
		own = nil
	}
	if now, err := keys.Public(); err == nil {
		own = append(own, now)
	}
	return own
}

// trustOwn adds this machine's own keys where the user named none and signed
// is one of them.
func (v *verifying) trustOwn(signed carrel.Digest) {
	if len(v.trust.Keys) > 0 {
		return
	}
	own := v.ownKeys()
	if slices.ContainsFunc(own, func(k verify.PublicKey) bool { return k.ID == signed }) {
		v.trust.Keys, v.own = own, true
		if log, err := audit.PublicKey(filepath.Join(v.host.Paths.State, "keys")); err == nil && v.trust.Log == "" {
			v.trust.Log = log
		}
	}
}

func (v *verifying) pack(path string) error {
	v.out.Kind = "pack"
	p, err := verify.OpenPack(path)
	if err != nil {
		return err
	}
	if key, err := verify.ParsePublicKey(p[verify.KeyFile]); err == nil {
		v.trustOwn(key.ID)
	}
	r, err := p.Check(v.trust)
	var fault *verify.PackFault
	if errors.As(err, &fault) {
		return fmt.Errorf("the evidence is not what was packed: %w", err)
	}
	if err != nil {
		return err
	}
	v.out.Key, v.out.Trusted, v.out.Proved, v.out.Missing = r.Key, r.Pinned, append(v.out.Proved, r.Proved...), append(v.out.Missing, r.Missing...)
	if r.Set == nil {
		return v.judge(nil, nil)
	}
	return v.judge([]verify.Set{*r.Set}, nil)
}

func (v *verifying) commit(ctx context.Context, name string) error {
	v.out.Kind = "commit"
	repo, err := git.Open(ctx, v.host.Cwd)
	if err != nil {
		return fmt.Errorf("%s is no file here, and no commit: %w", name, err)
	}
	c, err := repo.Commit(ctx, name)
	if err != nil {
		return fmt.Errorf("%s is no file here: %w", name, err)
	}
	note, err := repo.Note(ctx, verify.NotesRef, c.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return &hintError{fmt.Errorf("commit %s is not attested: %w", c.Name, err), "git fetch origin " + verify.NotesRef + ":" + verify.NotesRef}
	}
	if err != nil {
		return err
	}
	if all, err := verify.ParseNote(note); err == nil {
		if b, err := verify.ParseBundle(all[0].Bundle); err == nil {
			v.trustOwn(b.Key)
		}
	}
	if len(v.trust.Keys) == 0 {
		return &hintError{errors.New("no key to check the commit with: a key that came with it would prove nothing"), "--key attestation.pub, as `carrel identity export` wrote it where the commit was made"}
	}
	sets, err := verify.CheckCommit(note, c.Name, c.Tree, v.trust)
	if err != nil {
		return fmt.Errorf("commit %s: %w", c.Name, err)
	}
	v.out.Trusted = true
	for i := range sets {
		v.tellSet(&sets[i], c)
	}
	v.out.Missing = append(v.out.Missing,
		"what the records of the run say: they are in an evidence pack, which was not given",
		"that nothing was left out of the log before it was signed: that needs a copy of a checkpoint, or a witness, elsewhere")
	return v.judge(sets, &verify.CommitDocument{Name: c.Name, Tree: c.Tree, Parents: append([]string{}, c.Parents...)})
}

func (v *verifying) tellSet(s *verify.Set, c git.CommitInfo) {
	first := s.Attested[0]
	v.out.Key = first.Key
	v.out.Proved = append(v.out.Proved, fmt.Sprintf("commit %s is what came of run %s: signed by key %s, as record %d of log %s announced at %s",
		c.Name, s.Provenance.Run.Metadata.Invocation, first.Key.Short(), first.Index, first.Origin, first.Time.Format("2006-01-02T15:04:05Z")))
	proved, missing := s.Tell()
	v.out.Proved, v.out.Missing = append(v.out.Proved, proved...), append(v.out.Missing, missing...)
}

// attestation checks one bundle, with its proof if that lies beside it.
func (v *verifying) attestation(path string) error {
	v.out.Kind = "attestation"
	raw, err := readBounded(path, verify.MaxPackBytes)
	if err != nil {
		return err
	}
	b, err := verify.ParseBundle(raw)
	if err != nil {
		return err
	}
	v.trustOwn(b.Key)
	if len(v.trust.Keys) == 0 {
		return &hintError{fmt.Errorf("no key to check it with: it names key %s", b.Key), "--key attestation.pub, from somebody you trust"}
	}
	s, err := b.Verify(v.trust.Keys...)
	if err != nil {
		return err
	}
	v.out.Key, v.out.Trusted = b.Key, true
	v.out.Proved = append(v.out.Proved, fmt.Sprintf("key %s signed a statement of type %s", b.Key.Short(), s.PredicateType))
	for _, r := range s.Subject {
		for algorithm, digest := range r.Digest {
			v.out.Proved = append(v.out.Proved, fmt.Sprintf("it is about %q, %s %s", r.Name, algorithm, digest))
		}
	}
	if err := v.artifact(s); err != nil {
		return err
	}
	return errors.Join(v.logged(path, raw), v.judge(nil, nil))
}

// artifact compares a file with what the statement is about.
func (v *verifying) artifact(s verify.Statement) error {
	if v.opts.Artifact == "" {
		v.out.Missing = append(v.out.Missing, "that any file is what it is about: none was given (--artifact)")
		return nil
	}
	content, err := readBounded(v.opts.Artifact, verify.MaxPackBytes)
	if err != nil {
		return err
	}
	if err := s.Covers(map[string]string{verify.DigestSHA256: carrel.DigestBytes(content).Hex()}); err != nil {
		return fmt.Errorf("%s: %w", v.opts.Artifact, err)
	}
	v.out.Proved = append(v.out.Proved, fmt.Sprintf("%q is what it is about", v.opts.Artifact))
	return nil
}

func (v *verifying) logged(path string, bundle []byte) error {
	proof, err := readBounded(strings.TrimSuffix(path, verify.BundleSuffix)+verify.ProofSuffix, verify.MaxPackBytes/64)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.out.Missing = append(v.out.Missing, "that its making was logged: no "+verify.ProofSuffix+" lies beside it")
		return nil
	case err != nil:
		return err
	case v.trust.Log == "":
		v.out.Missing = append(v.out.Missing, "that its making was logged: the log's key was not given (--log-key)")
		return nil
	}
	a, err := verify.Attestation{Bundle: bundle, Proof: proof}.Check(v.trust)
	if err == nil {
		v.out.Proved = append(v.out.Proved, fmt.Sprintf("record %d of log %s announced it before it was signed", a.Index, a.Origin))
	}
	return err
}

// judge asks the policy about every set that was proved. None at all is a no.
func (v *verifying) judge(sets []verify.Set, commit *verify.CommitDocument) error {
	for i := range sets {
		d, err := sets[i].Document(commit)
		if err != nil {
			return err
		}
		v.out.Sets = append(v.out.Sets, d)
	}
	if v.opts.Policy == "" {
		return nil
	}
	if !v.out.Trusted {
		return &hintError{errors.New("a policy is asked only about what a trusted key signed"), "--key attestation.pub, from somebody you trust"}
	}
	layer, err := policy.FromPath("merge", policy.Organisation, v.opts.Policy)
	if err != nil {
		return fmt.Errorf("--policy: %w", err)
	}
	v.out.Policy = &PolicyVerdict{Rules: []string{}}
	if len(v.out.Sets) == 0 {
		v.out.Policy.Reason = "nothing is attested"
		return fmt.Errorf("%s: nothing about where a change went is attested: %w", v.out.Target, gate.ErrDenied)
	}
	for _, d := range v.out.Sets {
		answer, err := policy.AskAbout(layer, d)
		if err != nil {
			return fmt.Errorf("--policy: %w", err)
		}
		v.out.Policy.Rules = append(v.out.Policy.Rules, answer.Rules...)
		if answer.Verdict != carrel.Allow {
			if v.out.Policy.Reason = answer.Reason; answer.Reason == "" {
				v.out.Policy.Reason = "the policy does not allow it"
			}
			return fmt.Errorf("run %s: %s: %w by %s", d.Run, v.out.Policy.Reason, gate.ErrDenied, v.opts.Policy)
		}
	}
	v.out.Policy.Allowed = true
	return nil
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
	if v.out.Key != "" {
		whose := "which came with it"
		if v.own {
			whose = "this machine's own"
		} else if v.out.Trusted {
			whose = "which you trust"
		}
		fmt.Fprintf(w, "key %s, %s\n", v.out.Key, whose)
	}
	list("proved", v.out.Proved)
	list("not proved", v.out.Missing)
	if v.out.Policy != nil && v.out.Policy.Allowed {
		fmt.Fprintf(w, "allowed by %s\n", terminal.Escape(v.opts.Policy))
	}
	if v.out.OK {
		fmt.Fprintln(w, "ok")
	}
}

// readPublicKey reads a public key in PEM from a file that somebody trusts.
func readPublicKey(path string) (verify.PublicKey, error) {
	text, err := readBounded(path, 16<<10)
	if err != nil {
		return verify.PublicKey{}, fmt.Errorf("reading a public key: %w", err)
	}
	key, err := verify.ParsePublicKey(text)
	if err != nil {
		return verify.PublicKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, err
}
