package engine

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// PolicyShown is what `policy show` prints: every voice that is asked, and
// every rule of it that answers.
type PolicyShown struct {
	Policy  carrel.Digest     `json:"policy"`
	Sources []policy.Source   `json:"sources"`
	Rules   []policy.RuleInfo `json:"rules"`
}

// PolicyShow prints the policy that is in force outside a run, and where each
// rule comes from.
func PolicyShow(ctx context.Context, host Host, opts PolicyOptions, asJSON bool) error {
	layers, err := host.policyLayers(opts)
	if err != nil {
		return err
	}
	e, err := policy.NewHere(ctx, layers...)
	if err != nil {
		return err
	}
	rules, err := policy.Rules(layers...)
	if err != nil {
		return err
	}
	shown := PolicyShown{e.Digest(), e.Sources(), rules}
	if asJSON {
		return encodeJSON(host.Stdout, shown)
	}
	return shown.print(host.Stdout)
}

func (p PolicyShown) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "policy %s\n", p.Policy)
	for _, s := range p.Sources {
		fmt.Fprintf(&b, "\n%s (%s), asked about %s\n", s.Layer, s.Kind, joined(s.Governs))
		if s.Entry != "" {
			fmt.Fprintf(&b, "  package %s\n", strings.TrimPrefix(s.Entry, "data."))
		}
		for _, f := range s.Files {
			fmt.Fprintf(&b, "  %s, %s, %s\n", f.Name, language(f), f.Digest.Short())
		}
		if s.Revision != "" {
			fmt.Fprintf(&b, "  revision %s, signed with %s\n", s.Revision, s.SignedBy)
		}
		for _, r := range p.Rules {
			if r.Layer == s.Layer && r.Package == s.Entry {
				fmt.Fprintf(&b, "    %s:%d  %s\n", r.File, r.Line, r.Text)
			}
		}
	}
	_, err := io.WriteString(w, terminal.EscapeText(b.String()))
	return err
}

func joined(ops []carrel.Operation) string {
	out := make([]string, len(ops))
	for i, op := range ops {
		out[i] = string(op)
	}
	return strings.Join(out, ", ")
}

// PolicyDiffed is what `policy diff` prints.
type PolicyDiffed struct {
	Tried   int             `json:"tried"`
	Differs []policy.Differ `json:"differs"`
}

// PolicyDiff prints what a new policy answers otherwise than an old one.
func PolicyDiff(ctx context.Context, host Host, old, new string, asJSON bool) error {
	before, err := policy.FromPath("user", policy.User, old)
	if err != nil {
		return err
	}
	after, err := policy.FromPath("user", policy.User, new)
	if err != nil {
		return err
	}
	found, tried, err := policy.Diff(ctx, before, after)
	if err != nil {
		return err
	}
	if asJSON {
		return encodeJSON(host.Stdout, PolicyDiffed{tried, found})
	}
	var b strings.Builder
	for _, d := range found {
		fmt.Fprintf(&b, "%-5s -> %-5s  %s\n", d.Old, d.New, d.Input)
	}
	fmt.Fprintf(&b, "%s of %s that both policies' words suggest differ\n", plural(len(found), "answer"), plural(tried, "input"))
	_, err = io.WriteString(host.Stdout, terminal.EscapeText(b.String()))
	return err
}

// language says what a file of a policy is written in.
func language(f policy.SourceFile) string {
	if f.Version == "v0" || f.Version == "v1" {
		return "Rego " + f.Version
	}
	return f.Version
}
