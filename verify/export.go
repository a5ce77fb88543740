package verify

import (
	"bytes"
	"fmt"

	"github.com/carrel-dev/carrel"
)

// exportFiles are what an export of a run has, and all that it has.
var exportFiles = []string{RecordsFile, ProofsFile, PackCheckpoint, LogKeyFile}

// IsExport reports whether p is the records of a run with their proofs, as
// `carrel log export` writes them, and no evidence pack. Nothing is checked.
func (p Pack) IsExport() bool {
	_, sealed := p[ManifestFile]
	_, records := p[RecordsFile]
	return records && !sealed
}

// ExportReport is what a checked export proves.
type ExportReport struct {
	Run        carrel.RunID
	Records    int
	Checkpoint Checkpoint
	Incomplete string // why records of the run's own process are missing; "": none is
}

// CheckExport checks the records of a run against the checkpoint of the log
// with the given key, which must be the one that lies with them. Who left out
// what nobody signed for: see Incomplete. What is wrong is a *PackFault.
func (p Pack) CheckExport(logKey string) (ExportReport, error) {
	var r ExportReport
	for _, name := range exportFiles {
		if _, err := p.need(name); err != nil {
			return r, err
		}
	}
	if len(p) != len(exportFiles) {
		return r, &PackFault{RecordsFile, "more lies beside it than an export has: of an evidence pack the manifest is missing"}
	}
	if string(p[LogKeyFile]) != logKey+"\n" {
		return r, fmt.Errorf("the records are of the log %.200s: %w", bytes.TrimSpace(p[LogKeyFile]), ErrUntrusted)
	}
	line, _, _ := bytes.Cut(p[RecordsFile], []byte("\n"))
	first, err := Record(line)
	if err != nil {
		return r, &PackFault{RecordsFile, "line 1: " + err.Error()}
	}
	r.Run = first.Run
	records, c, err := p.records(Trust{Log: logKey}, r.Run)
	if err != nil {
		return r, err
	}
	r.Records, r.Checkpoint, r.Incomplete = len(records), c, complete(records)
	return r, nil
}
