package engine

import (
	"encoding/json"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/blob"
	"github.com/carrel-dev/carrel/internal/workspace/fileaction"
)

// maxManifest bounds a change's manifest that is read back.
const maxManifest = 256 << 20

// pastFiles are the files of a recorded change as actions, if its manifest is
// still kept.
func (e *Records) pastFiles(r carrel.Record) []pastAction {
	store, err := blob.Open(e.state("blobs"))
	if err != nil {
		return nil
	}
	raw, err := store.Read(r.Change.Manifest, maxManifest)
	if err != nil {
		return nil
	}
	var c carrel.Change
	if json.Unmarshal(raw, &c) != nil {
		return nil
	}
	var out []pastAction
	for _, files := range [][]carrel.FileChange{c.Files, c.Withheld} {
		for _, f := range files {
			out = append(out, pastAction{r.Run, fileaction.Of(c.Run, f), f.Decision, c.Taken})
		}
	}
	return out
}
