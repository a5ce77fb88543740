package carrel

import (
	"testing"
	"time"
)

func sampleChange() Change {
	return Change{
		Version: 1, ID: NewChangeID(), Run: NewRunID(), Desk: NewDeskID(), Workspace: "/home/u/project",
		Base:  Base{Commit: "c0ffee", Branch: "main", Stamp: time.Unix(1, 0).UTC()},
		Taken: time.Unix(2, 0).UTC(),
		Files: []FileChange{{Path: "a", Change: Modified, FileState: FileState{Kind: FileRegular, Mode: 0o644, Size: 1, Digest: DigestBytes([]byte("a"))},
			Before: FileState{Kind: FileRegular, Mode: 0o644, Size: 2, Digest: DigestBytes([]byte("b"))}}},
		Withheld: []FileChange{{Path: "w", Change: Created, FileState: FileState{Kind: FileLink, Target: "x"}, Before: FileState{Kind: FileNone}}},
	}
}

func digestOf(t *testing.T, c Change) Digest {
	t.Helper()
	d, err := c.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestChangeDigestCoversWhatIsApplied(t *testing.T) {
	want := digestOf(t, sampleChange())
	for name, alter := range map[string]func(*Change){
		"version":         func(c *Change) { c.Version++ },
		"workspace":       func(c *Change) { c.Workspace += "x" },
		"base commit":     func(c *Change) { c.Base.Commit = "decade" },
		"path":            func(c *Change) { c.Files[0].Path = "b" },
		"alteration":      func(c *Change) { c.Files[0].Change = Created },
		"kind":            func(c *Change) { c.Files[0].Kind = FileLink },
		"mode":            func(c *Change) { c.Files[0].Mode = 0o755 },
		"size":            func(c *Change) { c.Files[0].Size++ },
		"content":         func(c *Change) { c.Files[0].Digest = DigestBytes(nil) },
		"before":          func(c *Change) { c.Files[0].Before.Digest = "" },
		"target":          func(c *Change) { c.Withheld[0].Target = "y" },
		"withheld":        func(c *Change) { c.Withheld = nil },
		"file added":      func(c *Change) { c.Files = append(c.Files, c.Files[0]) },
		"withheld to not": func(c *Change) { c.Files = append(c.Files, c.Withheld...); c.Withheld = nil },
	} {
		c := sampleChange()
		alter(&c)
		if digestOf(t, c) == want {
			t.Errorf("%s does not change the digest", name)
		}
	}
}

func TestChangeDigestIgnoresWhatWasThoughtOfIt(t *testing.T) {
	want := digestOf(t, sampleChange())
	for name, alter := range map[string]func(*Change){
		"identifiers": func(c *Change) { c.ID, c.Run, c.Desk = NewChangeID(), NewRunID(), NewDeskID() },
		"time":        func(c *Change) { c.Taken, c.Base.Stamp = time.Unix(9, 0), time.Unix(8, 0) },
		"labels":      func(c *Change) { c.Files[0].Labels = []Label{{Name: "x"}} },
		"decision":    func(c *Change) { c.Files[0].Decision = Decision{Verdict: Allow} },
		"risk":        func(c *Change) { c.Risk = Risk{Level: SeverityHigh} },
		"message":     func(c *Change) { c.Message = "fix" },
	} {
		c := sampleChange()
		alter(&c)
		if digestOf(t, c) != want {
			t.Errorf("%s changes the digest", name)
		}
	}
}

func TestSeverityOrder(t *testing.T) {
	for i, s := range []Severity{SeverityNone, SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical} {
		if s.Rank() != i {
			t.Errorf("%s ranks %d, want %d", s, s.Rank(), i)
		}
	}
	if Severity("").Rank() != 0 || Severity("catastrophic").Rank() != 4 {
		t.Error("the empty severity ranks lowest, an unknown one highest")
	}
}
