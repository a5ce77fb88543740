package workspace

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel"
)

// What an agent's message may not say: attested are trailers by which people
// vouch for a commit, and one that turns checks off; silencing are the words
// that keep a commit from being built and checked. An agent cannot say them for
// anybody.
var (
	attested = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?im)^[ \t]*([a-z-]+-by|carrel-[a-z]+|skip-checks)[ \t]*:.*\n?`)
	})
	silencing = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)\[\s*(?:skip|no)[\s_-]+[\w-]+\s*\]|\[\s*[\w-]+[\s_-]+skip\s*\]|\*\*\*\s*no_ci\s*\*\*\*`)
	})
)

// proposed is the agent's message without what only people may say.
func proposed(message string) string {
	text := plainText(message)
	for { // what is left must not say it either
		less := silencing().ReplaceAllString(text, "")
		less = strings.TrimSpace(attested().ReplaceAllString(less+"\n", ""))
		if less == text {
			return text
		}
		text = less
	}
}

// commitMessage is the user's message, or the agent's proposal without what
// only people may say, or a plain one; and where the commit came from.
func commitMessage(o BranchOptions) string {
	c := o.Change
	text := plainText(o.Message)
	if text == "" {
		text = proposed(string(c.Message))
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
		if subject := verb + " " + name; len(subject) <= maxSubject && !strings.Contains(name, "\n") && proposed(name) == name {
			return subject
		}
		return verb + " one file"
	}
	return fmt.Sprintf("Change %d files", len(files))
}
