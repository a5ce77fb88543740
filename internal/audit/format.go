package audit

import (
	"fmt"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
)

// Format renders a record as one line for people. Everything that came from
// outside passes through escape, so that a record cannot forge another line
// or steer the terminal.
func Format(r carrel.Record, escape func(string) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-11s", r.Time.Format(time.DateTime), escape(string(r.Kind)))
	add := func(format string, args ...string) {
		safe := make([]any, len(args))
		for i, a := range args {
			safe[i] = escape(a)
		}
		fmt.Fprintf(&b, "  "+format, safe...)
	}
	if r.Run != "" {
		add("%s", string(r.Run))
	}
	if r.Action != nil {
		add("%s", describe(*r.Action))
	}
	if d := r.Decision; d != nil {
		add("%s %s", string(d.Verdict), strings.Join(d.Rules, ","))
		if d.Reason != "" {
			add("(%s)", d.Reason)
		}
		if r.Kind == carrel.KindRefused && r.Action != nil {
			add("%s", string(r.Action.ID)) // what policy explain wants
		}
	}
	if r.Repeats > 0 {
		fmt.Fprintf(&b, "  and %d times more", r.Repeats)
	}
	formatRest(r, add)
	return b.String()
}

// formatRest adds what only some kinds of record have.
func formatRest(r carrel.Record, add func(format string, args ...string)) {
	if p := r.Approval; p != nil {
		answer := "refused by"
		if p.Granted {
			answer = "approved by"
		}
		add("%s %s (%s)", answer, p.By, string(p.Reason))
	}
	if o := r.Outcome; o != nil {
		status := o.Status
		if target := o.Facts["target"]; target != "" {
			status += " for the " + string(target)
		}
		add("%s", strings.TrimSpace(status+" "+string(o.Error)))
	}
	if i := r.RunInfo; i != nil && r.Kind == carrel.KindRunStart {
		words := make([]string, len(i.Command))
		for n, w := range i.Command {
			words[n] = string(w)
		}
		add("%s in %s: %s", i.Agent, string(i.Workspace), strings.Join(words, " "))
	} else if i != nil {
		add("exit %s, %s records", fmt.Sprint(i.ExitCode), fmt.Sprint(i.Records))
	}
	if c := r.Change; c != nil {
		add("%s %s", string(c.ID), c.Digest.Short())
	}
	if r.Note != "" {
		add("%s", string(r.Note))
	}
}

// describe says in a few words what an action would do.
func describe(a carrel.Action) string {
	words := []string{string(a.Operation)}
	switch {
	case a.Path != "":
		words = append(words, a.Path)
	case len(a.Argv) > 0:
		for _, w := range a.Argv {
			words = append(words, string(w))
		}
	case a.Host != "":
		target := a.Host
		if a.Port != 0 {
			target = fmt.Sprintf("%s:%d", target, a.Port)
		}
		if a.Protocol != "" {
			target += "/" + string(a.Protocol)
		}
		words = append(words, a.Method, target, string(a.URL))
	case a.Publication != nil:
		words = append(words, string(a.Publication.Change), "to", a.Publication.Target)
	case a.Subject != "":
		words = append(words, a.Subject)
		if a.Operation == carrel.OpApprove || a.Operation == carrel.OpDeny { // a change is answered for the tree and for a branch
			words = append(words, "of digest", a.SubjectDigest.Short())
		}
		words = append(words, string(a.Reason))
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}
