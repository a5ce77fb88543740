package verify

import (
	"bytes"
	"errors"
	"testing"
)

// An export proves what lies in it and nothing more; no evidence pack becomes
// one by leaving its manifest out.
func TestExportIsChecked(t *testing.T) {
	whole, trust := fixturePack(t)
	_, other := fixtureKeys(t, "carrel.local/log/other")
	export := func() Pack {
		p := Pack{}
		for _, name := range exportFiles {
			p[name] = bytes.Clone(whole[name])
		}
		return p
	}
	r, err := export().CheckExport(trust.Log)
	if err != nil || r.Run != fixtureRun || r.Incomplete != "" || r.Records == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := export().CheckExport(other); !errors.Is(err, ErrUntrusted) {
		t.Errorf("another log: %v", err)
	}
	for name, alter := range map[string]func(p Pack){
		"no records":        func(p Pack) { p[RecordsFile], p[ProofsFile] = nil, nil },
		"a record changed":  func(p Pack) { p[RecordsFile][len(p[RecordsFile])/2] ^= 1 },
		"a record gone":     func(p Pack) { _, p[RecordsFile], _ = bytes.Cut(p[RecordsFile], []byte("\n")) },
		"no key":            func(p Pack) { delete(p, LogKeyFile) },
		"more than that":    func(p Pack) { p[ReadmeFile] = nil },
		"two ends of lines": func(p Pack) { p[LogKeyFile] = append(p[LogKeyFile], '\n') },
	} {
		p := export()
		alter(p)
		if r, err := p.CheckExport(trust.Log); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	delete(whole, ManifestFile)
	if _, err := whole.CheckExport(trust.Log); err == nil || !whole.IsExport() {
		t.Error("a pack without its manifest is an export")
	}
}
