package verify

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel"
)

// PackReport is what a checked pack proves, and what it does not.
type PackReport struct {
	Run      carrel.RunID    `json:"run"`
	Change   carrel.ChangeID `json:"change,omitempty"`
	Created  time.Time       `json:"created"`
	Key      carrel.Digest   `json:"key"`
	Pinned   bool            `json:"key_trusted"` // the caller named the key
	Log      string          `json:"log_key"`
	Size     int64           `json:"log_size"`
	Records  int             `json:"records"`
	Complete bool            `json:"complete"` // every record of the run's own process is there
	Set      *Set            `json:"-"`        // nil: the change is not attested
	Commit   string          `json:"commit,omitempty"`
	Proved   []string        `json:"proved"`
	Missing  []string        `json:"not_proved"`
}

func (r *PackReport) proved(format string, args ...any) {
	r.Proved = append(r.Proved, fmt.Sprintf(format, args...))
}

func (r *PackReport) missing(format string, args ...any) {
	r.Missing = append(r.Missing, fmt.Sprintf(format, args...))
}

// Check checks everything in a pack, each thing against each other one it
// names. t is what the caller believes in; with the zero Trust the keys that
// came with the pack are used, and the report says that whose they are is not
// proved. The first thing that is wrong is a *PackFault.
func (p Pack) Check(t Trust) (PackReport, error) {
	var r PackReport
	if err := p.checkManifest(); err != nil {
		return r, err
	}
	trust, err := p.trusted(t)
	if err != nil {
		return r, err
	}
	signed, evidence, err := p.checkSigned(trust)
	if err != nil {
		return r, err
	}
	r.Run, r.Change, r.Created, r.Key, r.Pinned, r.Log = evidence.Run, evidence.Change, evidence.Created, signed.Key, len(t.Keys) > 0, trust.Log
	r.proved("the pack is whole: its %d files are those that key %s signed for, as record %d of log %s announced", len(p), r.Key.Short(), signed.Index, signed.Origin)
	records, checkpoint, err := p.records(trust, r.Run)
	if err != nil {
		return r, err
	}
	if err := p.approvals(records); err != nil {
		return r, err
	}
	r.Records, r.Size = len(records), checkpoint.Size
	r.proved("%d records of run %s are in that log, which had %d records when it was signed", r.Records, r.Run, r.Size)
	r.tellComplete(records)
	info := lastInfo(records)
	if err := p.checkPolicy(&r, info.Policy); err != nil {
		return r, err
	}
	if err := p.change(&r, records); err != nil {
		return r, err
	}
	if err := p.checkSet(&r, trust, records); err != nil {
		return r, err
	}
	if err := p.onePast(trust, r.Set, records); err != nil {
		return r, &PackFault{PackCheckpoint, err.Error()}
	}
	r.tellLimits()
	return r, nil
}

func (r *PackReport) tellComplete(records []PackedRecord) {
	if why := complete(records); why != "" {
		r.missing("that the records of the run are all there: %s", why)
		return
	}
	r.Complete = true
	r.proved("none of the run's own records is missing: they are numbered without a hole from its start to its end")
}

// tellLimits names what no pack proves by itself.
func (r *PackReport) tellLimits() {
	if !r.Pinned {
		r.missing("whose key %s is: it came with the pack. Compare it with what `carrel identity show` prints on the machine, or name the key you trust", r.Key.Short())
	}
	r.missing("that nothing was left out of the log before it was signed: that needs a copy of a checkpoint, or a witness, elsewhere")
	r.missing("what others recorded about the run after it had ended (approvals, publications) beyond what is here")
	r.missing("which files the agent read, and what it did inside its walls without leaving them")
}

// lastInfo is what the run's newest record with a description says.
func lastInfo(records []PackedRecord) carrel.RunInfo {
	var info carrel.RunInfo
	for _, r := range records {
		if r.Record.RunInfo != nil {
			info = *r.Record.RunInfo
		}
	}
	return info
}

// checkPolicy checks that the policy in the pack is the one the records name.
// A run of a release that did not keep it has none.
func (p Pack) checkPolicy(r *PackReport, policy carrel.Digest) error {
	raw, ok := p[PolicyFile]
	if !ok {
		r.missing("what the policy %s says: its sources are not in the pack", policy.Short())
		return nil
	}
	if !carrel.DigestBytes(raw).Equal(policy) {
		return &PackFault{PolicyFile, "it is not the policy that the records name"}
	}
	named, err := PolicySources(raw)
	if err != nil {
		return &PackFault{PolicyFile, err.Error()}
	}
	files, absent := 0, 0
	for _, d := range named {
		content, ok := p[PolicyName(d)]
		switch {
		case !ok:
			absent++
		case !carrel.DigestBytes(content).Equal(d):
			return &PackFault{PolicyName(d), "it is not what the policy's sources name"}
		default:
			files++
		}
	}
	r.proved("the policy in the pack (%d sources) is the one that decided: digest %s", files, policy.Short())
	if absent > 0 {
		r.missing("what %d of the policy's sources say: they are not in the pack", absent)
	}
	return nil
}

// PolicyName is the name a source of the policy has in a pack.
func PolicyName(d carrel.Digest) string { return PolicyDir + "/" + d.Hex() }

// Root is the log's root that the provenance names, in base64.
func (p *Provenance) Root() string {
	c, _ := p.byproduct(ByproductCheckpoint)
	root, _ := c.Annotations["root"].(string)
	if _, err := base64.StdEncoding.DecodeString(root); err != nil {
		return ""
	}
	return root
}
