package hook

import (
	"errors"
	"strings"

	"github.com/carrel-dev/carrel"
)

// filesOfPatch are the files that a patch in the form of the apply_patch tool
// names.
func filesOfPatch(text string) []fileUse {
	var out []fileUse
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for prefix, how := range map[string]use{"*** Add File:": writes, "*** Update File:": writes, "*** Delete File:": deletes, "*** Move to:": writes} {
			if path, ok := strings.CutPrefix(line, prefix); ok {
				out = append(out, fileUse{how: how, path: strings.TrimSpace(path)})
			}
		}
	}
	return out
}

// patch is a tool that changes the files its text names.
func (p Place) patch(c Call, in toolInput) ([]carrel.Action, error) {
	text := in.Command
	if text == nil {
		text = in.Input
	}
	if text == nil {
		return nil, missing(c.Tool, "command")
	}
	var out []carrel.Action
	for _, f := range filesOfPatch(*text) {
		if a, ok := p.file(f, c.Cwd); ok {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the patch names no file")
	}
	return out, nil
}

// lookAtPath is look where the file is called path.
func (p Place) lookAtPath(c Call, in toolInput) ([]carrel.Action, error) {
	in.FilePath = in.Path
	return p.look(c, in)
}
