package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/private"
)

// maxPolicyFile bounds one text of a policy that is read back.
const maxPolicyFile = 16 << 20

// policyText is where the text of a policy, or the list of its texts, is kept.
func (e *Records) policyText(d carrel.Digest) string { return e.state("policies", d.Hex()) }

// readPolicy returns a kept text; its error is fs.ErrNotExist if there is none.
func (e *Records) readPolicy(d carrel.Digest) ([]byte, error) {
	b, err := private.Read(e.policyText(d), maxPolicyFile)
	if err == nil && !carrel.DigestBytes(b).Equal(d) {
		err = errors.New("the kept text of the policy " + d.Short() + " is not what it was")
	}
	return b, err
}

// keptPolicy rebuilds the Rego layers of the policy with this digest from its
// kept texts. What it granted in Go is not among them; sources are all that it
// was made of.
func (e *Records) keptPolicy(d carrel.Digest) (layers []policy.Layer, sources []policy.Source, err error) {
	raw, err := e.readPolicy(d)
	if err != nil {
		return nil, nil, err
	}
	var manifest struct{ Sources []policy.Source }
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return nil, nil, fmt.Errorf("the kept policy %s: %w", d.Short(), err)
	}
	for _, s := range manifest.Sources {
		known := func(l policy.Layer) bool { return l.Name == s.Layer }
		if len(s.Files) == 0 || s.Layer == policy.Builtin || slices.ContainsFunc(layers, known) {
			continue
		}
		l := policy.Layer{Name: s.Layer, Kind: s.Kind, Revision: s.Revision, SignedBy: s.SignedBy}
		for _, f := range s.Files {
			source, err := e.readPolicy(f.Digest)
			if err != nil {
				return nil, nil, err
			}
			l.Files = append(l.Files, policy.File{Name: f.Name, Source: source})
		}
		if s.Data != "" {
			if l.Data, err = e.readPolicy(s.Data); err != nil {
				return nil, nil, err
			}
		}
		layers = append(layers, l)
	}
	return layers, manifest.Sources, nil
}

// sameFloor reports whether two policies have the same built-in texts.
func sameFloor(a, b []policy.Source) bool {
	texts := func(all []policy.Source) (out []string) {
		for _, s := range all {
			for _, f := range s.Files {
				if s.Layer == policy.Builtin {
					out = append(out, string(f.Digest))
				}
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return slices.Equal(texts(a), texts(b))
}
