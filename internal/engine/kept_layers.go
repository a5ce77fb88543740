//go:build linux

package engine

import (
	"fmt"
	"slices"

	"github.com/carrel-dev/carrel/internal/policy"
)

// keptData stands for the data of a layer among its files.
const keptData = "data.json"

// keepLayers stores the Rego that --policy added to a run.
func (e *Engine) keepLayers(layers []policy.Layer) ([]policyFile, error) {
	if len(layers) == 0 {
		return nil, nil
	}
	batch, err := e.blobs.Batch()
	if err != nil {
		return nil, fmt.Errorf("keeping the run's policy: %w", err)
	}
	defer batch.Abort()
	var kept []policyFile
	for _, l := range layers {
		files := l.Files
		if len(l.Data) > 0 {
			files = append(slices.Clone(files), policy.File{Name: keptData, Source: l.Data})
		}
		for _, f := range files {
			digest, err := batch.PutBytes(f.Source)
			if err != nil {
				return nil, fmt.Errorf("keeping policy %s: %w", f.Name, err)
			}
			kept = append(kept, policyFile{l.Name, f.Name, digest})
		}
	}
	return kept, batch.Commit()
}

// keptLayers reads them back.
func (e *Engine) keptLayers(files []policyFile) ([]policy.Layer, error) {
	var layers []policy.Layer
	for _, f := range files {
		source, err := e.blobs.Read(f.Digest, maxPolicyFile)
		if err != nil {
			return nil, fmt.Errorf("the run's policy %s: %w", f.Name, err)
		}
		i := slices.IndexFunc(layers, func(l policy.Layer) bool { return l.Name == f.Layer })
		if i < 0 {
			kind := policy.User
			if f.Layer == repositoryLayer {
				kind = policy.Repository
			}
			layers = append(layers, policy.Layer{Name: f.Layer, Kind: kind})
			i = len(layers) - 1
		}
		if f.Name == keptData {
			layers[i].Data = source
			continue
		}
		layers[i].Files = append(layers[i].Files, policy.File{Name: f.Name, Source: source})
	}
	return layers, nil
}
