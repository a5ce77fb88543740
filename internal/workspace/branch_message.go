package workspace

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel"
)

// attested are trailers by which people vouch for a commit. An agent cannot
// write them for anybody.
var attested = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?im)^[ \t]*([a-z-]+-by|carrel-[a-z]+)[ \t]*:.*\n?`) })

// commitMessage is the user's message, or the agent's proposal without what
// only people may say, or a plain one; and where the commit came from.
func commitMessage(o BranchOptions) string {
	c := o.Change
	text := plainText(o.Message)
	if text == "" {
		text = strings.TrimSpace(attested().ReplaceAllString(plainText(string(c.Message))+"\n", ""))
	}
	if text == "" {
		text = plainSubject(c)
	}
	digest, _ := c.Digest() // it was computed before, to check the grant
	return fmt.Sprintf("%s\n\nCarrel-Run: %s\nCarrel-Change: %s %s\n", text, c.Run, c.ID, digest)
}

// maxSubject is as long as a subject is read everywhere.
const maxSubject = 72

// plainSubject says what a change does, for want of anybody's words.
func plainSubject(c *carrel.Change) string {
	files := slices.DeleteFunc(slices.Clone(c.Files), func(f carrel.FileChange) bool {
		return f.Kind == carrel.FileDir && f.Before.Kind != carrel.FileRegular && f.Before.Kind != carrel.FileLink
	})
	if len(files) == 1 {
		f := files[0]
		verb := "Update"
		switch {
		case f.Kind == carrel.FileNone:
			verb = "Delete"
		case f.Before.Kind == carrel.FileNone:
			verb = "Add"
		}
		name := plainText(string(f.Path))
		if subject := verb + " " + name; len(subject) <= maxSubject && !strings.Contains(name, "\n") {
			return subject
		}
		return verb + " one file"
	}
	return fmt.Sprintf("Change %d files", len(files))
}
