package verify

import (
	"encoding/json"
	"fmt"

	"github.com/carrel-dev/carrel"
)

// change checks the frozen change against the record that froze it. A pack of
// a run that changed nothing has none.
func (p Pack) change(r *PackReport, records []PackedRecord) error {
	raw, ok := p[ChangeFile]
	if !ok {
		if r.Change != "" || p[PatchFile] != nil {
			return &PackFault{ChangeFile, "it is missing"}
		}
		r.missing("anything about a change: the pack has none")
		return nil
	}
	c, digest, err := decodeChange(raw)
	if err != nil {
		return &PackFault{ChangeFile, err.Error()}
	}
	if c.ID != r.Change || c.Run != r.Run {
		return &PackFault{ChangeFile, "it is another change than the pack is about, or of another run"}
	}
	for _, rec := range records {
		ref := rec.Record.Change
		if rec.Record.Kind != carrel.KindChange || ref.ID != c.ID {
			continue
		}
		if !ref.Digest.Equal(digest) || !ref.Manifest.Equal(carrel.DigestBytes(raw)) {
			return &PackFault{ChangeFile, "it is not what was frozen: the record of the change names other digests"}
		}
		r.proved("the change %s (files %d, withheld %d, risk %s, digest %s) is the one that was frozen at the end of the run", c.ID, len(c.Files), len(c.Withheld), c.Risk.Level, digest.Short())
		return nil
	}
	return r.unrecorded(c, records, digest)
}

// Bounds of a frozen change: as large as Carrel packs it, and no more objects
// than as many files have.
const (
	maxChange        = MaxPackBytes / 4
	maxChangeObjects = 1 << 20
)

// decodeChange reads a frozen change, and its digest.
func decodeChange(raw []byte) (*carrel.Change, carrel.Digest, error) {
	if len(raw) > maxChange {
		return nil, "", fmt.Errorf("its %d bytes are over the limit of %d", len(raw), maxChange)
	}
	// The shortest file has three objects in two hundred bytes.
	if err := countObjects(raw, min(maxChangeObjects, 1024+len(raw)/32)); err != nil {
		return nil, "", err
	}
	var c carrel.Change
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, "", err
	}
	digest, err := c.Digest()
	return &c, digest, err
}

// unrecorded accepts a change that was frozen while the run went on, if it was
// published: the publication names its digest.
func (r *PackReport) unrecorded(c *carrel.Change, records []PackedRecord, digest carrel.Digest) error {
	for _, rec := range records {
		if a := rec.Record.Action; rec.Record.Kind == carrel.KindIntent && a.Publication != nil && a.Publication.Change == c.ID && a.Publication.Digest.Equal(digest) {
			r.proved("the change %s (files %d, digest %s) is the one that was published", c.ID, len(c.Files), digest.Short())
			return nil
		}
	}
	return &PackFault{ChangeFile, "no record of the run names it"}
}

// checkSet checks the attestations of the change, if there are any, against
// the records and the change.
func (p Pack) checkSet(r *PackReport, t Trust, records []PackedRecord) error {
	present := 0
	for _, name := range ChangeAttestations {
		for _, suffix := range []string{BundleSuffix, ProofSuffix} {
			if _, ok := p[name+suffix]; ok {
				present++
			}
		}
	}
	if present == 0 {
		r.missing("anything about where the change went: it is not attested; `carrel apply` and `carrel attest` do that")
		return nil
	}
	var all []Attested
	for _, name := range ChangeAttestations {
		at, err := p.attestation(name)
		if err != nil {
			return err
		}
		a, err := at.Check(t)
		if err != nil {
			return &PackFault{name + BundleSuffix, err.Error()}
		}
		all = append(all, a)
	}
	set, err := CheckSet(all)
	if err != nil {
		return &PackFault{ProvenanceName + BundleSuffix, err.Error()}
	}
	if err := p.agree(&set, records); err != nil {
		return &PackFault{ProvenanceName + BundleSuffix, "it and the records disagree: " + err.Error()}
	}
	r.Set = &set
	proved, missing := set.Tell()
	r.Proved, r.Missing = append(r.Proved, proved...), append(r.Missing, missing...)
	for _, subject := range set.Attested[0].Statement.Subject {
		if c := subject.Digest[DigestCommit]; c != "" {
			r.Commit = c
			r.proved("commit %s is what came of it", c)
		}
	}
	return nil
}
