package view

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel"
)

// Briefing is what the agent is told about its desk.
type Briefing struct {
	Reach    []string // destinations that are allowed, as people write them
	Services []string // "db.desk:5432 (…)"
	Keys     []string // credentials that stand behind placeholders, with where they go
	Exposed  []string // ports inside that the user sees
	Hidden   []string // paths that are empty on purpose
	Overlay  bool     // renaming a directory that existed before gives EXDEV
	HomeKept bool
	Apply    string // what happens to the work: one sentence; "" for the default
}

// Text renders the briefing: short, read by programs that pay for every word.
func (b Briefing) Text() string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	line("# You work at a walled desk (Carrel)\n")
	line("- You see the workspace at %s and at its own path, as a staged copy: the user's files do not change while you work.", Workspace)
	line("- %s", orElse(b.Apply, "When you are done the user reviews what you changed and decides what is applied. Do not push, and do not look for a way around the walls: refusals are meant."))
	line("- Network: %s", orElse(strings.Join(b.Reach, ", "), "no destination is allowed."))
	if len(b.Services) > 0 {
		line("- Services of the host: %s", strings.Join(b.Services, ", "))
	}
	if len(b.Keys) > 0 {
		line("- Keys: what you find for these is a placeholder of the usual shape. Use it as you would the key; it works there and nowhere else, and using it elsewhere ends the request: %s", strings.Join(b.Keys, "; "))
	}
	if len(b.Exposed) > 0 {
		line("- The user sees your servers on 127.0.0.1 at these ports: %s", strings.Join(b.Exposed, ", "))
	}
	line("- Anything else is refused at once: names do not resolve, connections are reset, HTTP answers 403 with JSON that names the rule and the next steps. %s has a line for each refusal.", NoticesPath)
	line("- If you need something that is refused, say so in your answer: name the host, port and reason, so that the user can allow it (`carrel run --allow HOST`). Retrying does not help.")
	line("- There is no root, no sudo, no other user and no container engine inside; servers on 127.0.0.1 work among your own processes.")
	if len(b.Hidden) > 0 {
		line("- Empty on purpose: %s", strings.Join(b.Hidden, ", "))
	}
	if b.Overlay {
		line("- Renaming a directory that existed before you came fails with EXDEV (\"Invalid cross-device link\"): copy it and delete the old one (`cp -a old new && rm -r old`).")
	}
	if b.HomeKept {
		line("- Your home is private and is kept for your next run in this workspace; /tmp is not.")
	} else {
		line("- Your home and /tmp are private and go when you end.")
	}
	line("- You may propose a commit message: write it to %s/%s.", outDir, carrel.MessageFile)
	return out.String()
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
