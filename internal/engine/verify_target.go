package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/verify"
)

func (v *verifying) pack(path string) error {
	v.out.Kind = "pack"
	p, err := verify.OpenPack(path)
	if err != nil {
		return strange(path, err)
	}
	if p.IsExport() {
		return v.export(p)
	}
	if key, err := verify.ParsePublicKey(p[verify.KeyFile]); err == nil {
		if v.trustOwn(key.ID); v.own {
			named := strings.TrimSuffix(string(p[verify.LogKeyFile]), "\n")
			v.trustOwnLog(func(key string) bool { return key == named })
		}
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
	if err := v.cosignedPack(p, r.Log); err != nil {
		return err
	}
	if v.opts.Policy != "" {
		v.out.Missing = append(v.out.Missing, "that this is about a commit of a repository here: the policy was shown none (input.commit is null)")
	}
	if r.Set == nil {
		return v.judge(nil, nil)
	}
	return v.judge([]verify.Set{*r.Set}, nil)
}

func (v *verifying) commit(ctx context.Context, name string) error {
	v.out.Kind = "commit"
	repo, err := git.Open(ctx, v.host.Cwd)
	if err != nil {
		return fmt.Errorf("%q is no file here, and commits cannot be looked for: %w", name, err)
	}
	c, err := repo.Commit(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return &hintError{fmt.Errorf("%q is neither a file nor a commit here", name), "name a pack, an attestation, a proof, a commit or a range of commits: carrel verify --help"}
	}
	if err != nil {
		return err
	}
	sets, err := v.noted(ctx, repo, c)
	if errors.Is(err, git.ErrNoNote) {
		return &hintError{fmt.Errorf("commit %s is not attested: %w", c.Name, err), fetchNotes}
	}
	if err != nil {
		return fmt.Errorf("commit %s: %w", c.Name, err)
	}
	v.out.Trusted = true
	for i := range sets {
		v.tellSet(&sets[i], c)
	}
	v.tellCommitLimits()
	return v.judge(sets, commitDocument(c))
}

const fetchNotes = "git fetch origin " + verify.NotesRef + ":" + verify.NotesRef

// tellCommitLimits names what attestations of commits do not prove.
func (v *verifying) tellCommitLimits() {
	v.out.Missing = append(v.out.Missing,
		"what the records of the run say: they are in an evidence pack, which was not given",
		"that nothing was left out of the log before it was signed: that needs a copy of a checkpoint, or a witness, elsewhere")
}

func commitDocument(c git.CommitInfo) *verify.CommitDocument {
	return &verify.CommitDocument{Name: c.Name, Tree: c.Tree, Parents: append([]string{}, c.Parents...)}
}

// noted checks every attestation in the note of a commit, with the keys of the
// user or else of this machine. The error wraps git.ErrNoNote if
// there is none.
func (v *verifying) noted(ctx context.Context, repo *git.Repo, c git.CommitInfo) ([]verify.Set, error) {
	note, err := repo.Note(ctx, verify.NotesRef, c.Name)
	if err != nil {
		return nil, err
	}
	if all, err := verify.ParseNote(note); err == nil {
		if b, err := verify.ParseBundle(all[0].Bundle); err == nil {
			v.trustOwn(b.Key)
		}
	}
	if len(v.trust.Keys) == 0 {
		return nil, &hintError{errors.New("no key to check the commit with: a key that came with it would prove nothing"), "--key attestation.pub, as `carrel identity export` wrote it where the commit was made"}
	}
	sets, err := verify.CheckCommit(note, c.Name, c.Tree, v.trust)
	if err == nil {
		err = v.cosignedNote(note, sets)
	}
	if err != nil || !v.own || v.trust.Log != "" {
		return sets, err
	}
	// Each names the key of its log; where this machine's own keys count, it
	// must be this machine's log.
	own := v.ownLogs()
	for i := range sets {
		if key := sets[i].Provenance.LogKey(); !slices.Contains(own, key) {
			return nil, fmt.Errorf("it was announced in the log %.200s: %w", key, verify.ErrUntrusted)
		}
	}
	return sets, nil
}

func (v *verifying) tellSet(s *verify.Set, c git.CommitInfo) {
	first := s.Attested[0]
	v.out.Key = first.Key
	v.out.Proved = append(v.out.Proved, fmt.Sprintf("commit %s is what came of run %s: signed by key %s, as record %d of log %s announced at %s",
		c.Name, s.Provenance.Run.Metadata.Invocation, first.Key.Short(), first.Index, first.Origin, first.Time.Format("2006-01-02T15:04:05Z")))
	proved, missing := s.Tell()
	v.out.Proved = append(v.out.Proved, proved...)
	for _, line := range missing {
		v.say(&v.out.Missing, line)
	}
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
	beside := strings.TrimSuffix(path, verify.BundleSuffix) + verify.ProofSuffix
	proof, err := readBounded(beside, verify.MaxPackBytes/64)
	switch {
	case errors.Is(err, fs.ErrNotExist) && v.opts.LogKey != "":
		return &hintError{fmt.Errorf("nothing proves to the log's key that its making was logged: there is no %s", filepath.Base(beside)), "put the proof beside the attestation, or leave --log-key out"}
	case errors.Is(err, fs.ErrNotExist):
		v.out.Missing = append(v.out.Missing, "that its making was logged: no "+verify.ProofSuffix+" lies beside it")
		return nil
	case err != nil:
		return err
	}
	if kept, err := verify.ParseProof(proof); err == nil && v.own {
		v.trustOwnLog(signedIn(kept))
	}
	if v.trust.Log == "" {
		v.out.Missing = append(v.out.Missing, "that its making was logged: the log's key was not given (--log-key)")
		return nil
	}
	a, err := verify.Attestation{Bundle: bundle, Proof: proof}.Check(v.trust)
	if err != nil {
		return err
	}
	p, err := verify.ParseProof(proof)
	if err == nil {
		err = v.cosigned(p.Checkpoint, v.trust.Log)
	}
	if err == nil {
		v.out.Proved = append(v.out.Proved, fmt.Sprintf("record %d of log %s announced it before it was signed", a.Index, a.Origin))
	}
	return err
}
