package review

import "github.com/carrel-dev/carrel"

// Document is a change as `carrel review --json` gives it. Callers escape it
// when they print it (terminal.EscapeJSON).
type Document struct {
	Run      carrel.RunID    `json:"run"`
	Change   carrel.ChangeID `json:"change"`
	Digest   carrel.Digest   `json:"digest"`
	State    string          `json:"state"`
	Risk     carrel.Risk     `json:"risk"`
	Files    []File          `json:"files"`
	Withheld []File          `json:"withheld"`
}

// File is one path of a Document.
type File struct {
	Path     carrel.Text       `json:"path"`
	Change   carrel.Alteration `json:"change"`
	Kind     carrel.FileKind   `json:"kind"`
	Mode     uint32            `json:"mode"`
	Size     int64             `json:"size"`
	Digest   carrel.Digest     `json:"digest"`
	Decision Decision          `json:"decision"`
	Labels   []carrel.Label    `json:"labels"`
}

// Decision is what was decided about a File.
type Decision struct {
	Verdict carrel.Verdict `json:"verdict"`
	Rules   []string       `json:"rules"`
	Reason  string         `json:"reason"`
}

// JSON returns the document of a change in the given state.
func JSON(c *carrel.Change, state string) (Document, error) {
	digest, err := c.Digest()
	if err != nil {
		return Document{}, err
	}
	d := Document{
		Run: c.Run, Change: c.ID, Digest: digest, State: state,
		Risk: carrel.Risk{Level: level(c.Risk.Level), Counts: c.Risk.Counts}, Files: documents(c.Files), Withheld: documents(c.Withheld),
	}
	if d.Risk.Counts == nil {
		d.Risk.Counts = map[string]int{}
	}
	return d, nil
}

func documents(files []carrel.FileChange) []File {
	out := make([]File, len(files))
	for i, f := range files {
		out[i] = File{
			Path: f.Path, Change: f.Change, Kind: f.Kind, Mode: f.Mode, Size: f.Size, Digest: f.Digest,
			Decision: Decision{f.Decision.Verdict, append([]string{}, f.Decision.Rules...), f.Decision.Reason},
			Labels:   append([]carrel.Label{}, f.Labels...),
		}
		if out[i].Decision.Verdict == "" {
			out[i].Decision.Verdict = carrel.Deny
		}
	}
	return out
}
