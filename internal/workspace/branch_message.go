package workspace

import (
	"fmt"
	"regexp"
	"strings"
)

// attested are trailers by which people vouch for a commit. An agent cannot
// write them for anybody.
var attested = regexp.MustCompile(`(?im)^[ \t]*([a-z-]+-by|carrel-[a-z]+)[ \t]*:.*\n?`)

// commitMessage is the user's message, or the agent's proposal without what
// only people may say, or a plain one; and where the commit came from.
func commitMessage(o BranchOptions) string {
	c := o.Change
	text := plainText(o.Message)
	if text == "" {
		text = strings.TrimSpace(attested.ReplaceAllString(plainText(string(c.Message))+"\n", ""))
	}
	if text == "" {
		text = fmt.Sprintf("Apply the work of %s: %d files", c.Run, len(c.Files))
	}
	digest, _ := c.Digest() // it was computed before, to check the grant
	return fmt.Sprintf("%s\n\nCarrel-Run: %s\nCarrel-Change: %s %s\n", text, c.Run, c.ID, digest)
}
