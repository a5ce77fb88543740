package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/private"
)

// configuredLayers reads the Rego and the bundles that the configuration
// names.
func (e *Records) configuredLayers(cfg config.Effective) ([]policy.Layer, error) {
	var layers []policy.Layer
	for i, p := range cfg.Policy {
		kind := policy.User
		if p.Origin.Layer == config.Organisation {
			kind = policy.Organisation
		}
		layer, err := e.loadLayer(fmt.Sprintf("%s%d", kind, i+1), kind, p.Value, cfg.PolicyKeys)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Origin, err)
		}
		layers = append(layers, layer)
	}
	return layers, nil
}

// loadLayer reads a file, a directory, or a bundle that one of the keys
// signed and that is no older than what was loaded from there before.
func (e *Records) loadLayer(name string, kind policy.Kind, path string, keys []config.Value[string]) (policy.Layer, error) {
	if !policy.IsBundle(path) {
		return policy.FromPath(name, kind, path)
	}
	known, err := bundleKeys(kind, keys)
	if err != nil {
		return policy.Layer{}, err
	}
	layer, err := policy.FromBundle(name, kind, path, known)
	if err != nil {
		return policy.Layer{}, err
	}
	return layer, e.notOlder(layer)
}

// policyInForce compiles layers to be in force, and from then on refuses older
// bundles than those among them. One that does not compile is not remembered:
// the one before it goes on being the newest.
func (e *Records) policyInForce(ctx context.Context, layers ...policy.Layer) (*policy.Engine, error) {
	engine, err := policy.New(ctx, layers...)
	if err != nil {
		return nil, err
	}
	if err := e.rememberBundles(layers); err != nil {
		engine.Close()
		return nil, err
	}
	return engine, nil
}

// bundleKeys reads the keys that may sign for a layer: the organisation's
// policy is not the user's to sign.
func bundleKeys(kind policy.Kind, keys []config.Value[string]) ([]policy.Key, error) {
	var out []policy.Key
	for _, k := range keys {
		if kind == policy.Organisation && k.Origin.Layer != config.Organisation {
			continue
		}
		raw, err := os.ReadFile(k.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: policy_keys: %w", k.Origin, err)
		}
		key, err := policy.ParseKey(keyName(k.Value), raw)
		if err != nil {
			return nil, fmt.Errorf("%s: policy_keys: %s: %w", k.Origin, k.Value, err)
		}
		out = append(out, key)
	}
	return out, nil
}

// keyName is what signatures call the key of a file.
func keyName(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// maxRevisions bounds the file of revisions.
const maxRevisions = 1 << 20

// revision is what was in force from a place.
type revision struct {
	Revision string        `json:"revision"`
	Digest   carrel.Digest `json:"digest"`
}

// notOlder refuses a bundle with an older revision than one from the same
// place that was in force, and another bundle under the same revision.
func (e *Records) notOlder(l policy.Layer) error {
	seen, err := e.bundlesSeen()
	if err != nil {
		return err
	}
	if before, again := seen[l.Bundle]; again {
		return revisionOf(l).follows(before, l.Bundle)
	}
	return nil
}

// rememberBundles notes what bundles are in force. What another process has
// put in force meanwhile counts.
func (e *Records) rememberBundles(layers []policy.Layer) error {
	layers = slices.DeleteFunc(slices.Clone(layers), func(l policy.Layer) bool { return l.Bundle == "" })
	if len(layers) == 0 {
		return nil
	}
	if err := os.MkdirAll(e.state(), 0o700); err != nil {
		return err
	}
	return private.Locked(e.state(), func() error {
		seen, err := e.bundlesSeen()
		if err != nil {
			return err
		}
		changed := false
		for _, l := range layers {
			now, before := revisionOf(l), seen[l.Bundle]
			if now == before {
				continue
			}
			if err := now.follows(before, l.Bundle); err != nil {
				return err
			}
			seen[l.Bundle], changed = now, true
		}
		if !changed {
			return nil
		}
		raw, err := json.Marshal(seen)
		if err != nil {
			return err
		}
		return private.Replace(e.state(revisionsFile), raw)
	})
}

const revisionsFile = "policy-revisions.json"

// bundlesSeen is what was in force, by place.
func (e *Records) bundlesSeen() (map[string]revision, error) {
	seen := map[string]revision{}
	raw, err := private.Read(e.state(revisionsFile), maxRevisions)
	if err == nil {
		err = json.Unmarshal(raw, &seen)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading which policies were in force before: %w", err)
	}
	return seen, nil
}

func revisionOf(l policy.Layer) revision { return revision{l.Revision, layerDigest(l)} }

// follows refuses what must not come after before.
func (r revision) follows(before revision, path string) error {
	switch {
	case policy.OlderRevision(r.Revision, before.Revision):
		return &hintError{
			fmt.Errorf("policy bundle %s: its revision %q is older than %q, which was in force before", path, r.Revision, before.Revision),
			"to go back, sign the older rules under a newer revision",
		}
	case r != before && !policy.OlderRevision(before.Revision, r.Revision): // the same, or one that counts as the same: 1, 01
		return &hintError{
			fmt.Errorf("policy bundle %s: it is another one than before, under the same revision %q", path, before.Revision),
			"sign it under a newer revision",
		}
	}
	return nil
}

// layerDigest is of the files and data of a layer. The names are somebody
// else's: none reads as two lines.
func layerDigest(l policy.Layer) carrel.Digest {
	text := string(carrel.DigestBytes(l.Data))
	for _, f := range l.Files {
		name := f.Name
		if strings.ContainsAny(name, "\n\"\\") {
			name = strconv.Quote(name)
		}
		text += "\n" + name + " " + string(carrel.DigestBytes(f.Source))
	}
	return carrel.DigestBytes([]byte(text))
}

// PolicyBundleOptions are the flags of `policy bundle`.
type PolicyBundleOptions struct {
	Path     string
	Output   string
	Revision string
	Key      string // a private key in PEM
	KeyName  string // what checks call it; empty: the file's name
}

// PolicyBundle writes a policy as a signed bundle.
func PolicyBundle(opts PolicyBundleOptions) error {
	raw, err := os.ReadFile(opts.Key)
	if err != nil {
		return fmt.Errorf("reading the signing key: %w", err)
	}
	key, err := policy.ParseSigningKey(cmp.Or(opts.KeyName, keyName(opts.Key)), raw)
	if err != nil {
		return fmt.Errorf("%s: %w", opts.Key, err)
	}
	var out bytes.Buffer
	if err := policy.WriteBundle(&out, opts.Path, opts.Revision, key); err != nil {
		return err
	}
	return putFile(opts.Output, out.Bytes(), 0o644)
}
