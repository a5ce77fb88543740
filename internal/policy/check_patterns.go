package policy

import (
	"path"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// patterns finds expressions that hold for more than they name: without their
// ends, with a dot that stands for anything, or anchored in one branch only.
func (c *checker) patterns(r *ast.Rule) {
	for _, t := range c.testsOf(r) {
		if closes(r, t) || t.function != "regex.match" {
			continue
		}
		re, err := regexp.Compile(t.text)
		if err != nil {
			continue
		}
		var tried []carrel.Action
		for _, text := range wider(t.field, t.text) {
			switch {
			case !re.MatchString(text):
			case t.field == "host":
				tried = append(tried, c.hosts(text)...)
			case t.field == "path":
				tried = append(tried, c.files(text)...)
			}
		}
		for _, a := range tried {
			if c.own(a).Verdict == carrel.Allow {
				c.show("pattern-without-end", t.at, a, "the expression %q holds for more than it names; anchor all of it, ^(…)$, and escape its dots", t.text)
			}
		}
	}
}

var bareDot = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`([a-z0-9])\.([a-z0-9])`) })

// wider are texts that a pattern for a host or a path should not hold for.
func wider(field, pattern string) []string {
	var out []string
	for _, branch := range branches(bareDot().ReplaceAllString(pattern, `$1\.$2`)) {
		text, begins := sample(branch), first(branch)
		literal := begins.Op == syntax.OpLiteral && begins.Rune[0] != '.'
		switch {
		case field == "path" && literal && strings.HasPrefix(text, "/workspace/"):
			out = append(out, path.Clean("/workspace/evil"+text+"/x"))
		case field == "host" && !strings.ContainsAny(text, "."):
		case field == "host":
			out = append(out, text+".evil.test")
			if literal {
				out = append(out, "evil"+text)
			}
		}
	}
	if field == "host" && bareDot().MatchString(pattern) {
		for _, branch := range branches(pattern) {
			out = append(out, sample(branch))
		}
	}
	return out
}

// branches are the alternatives at the top of a pattern.
func branches(pattern string) []*syntax.Regexp {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	if re.Op == syntax.OpAlternate {
		return re.Sub
	}
	return []*syntax.Regexp{re}
}

func first(re *syntax.Regexp) *syntax.Regexp {
	for (re.Op == syntax.OpConcat || re.Op == syntax.OpCapture || re.Op == syntax.OpAlternate) && len(re.Sub) > 0 {
		re = re.Sub[0]
	}
	return re
}

// sample is a text that the pattern holds for, with "x" for what may be anything.
func sample(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "x"
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			if re.Rune[i] <= 'x' && 'x' <= re.Rune[i+1] {
				return "x"
			}
		}
		return string(re.Rune[:min(1, len(re.Rune))])
	case syntax.OpAlternate:
		return sample(re.Sub[0])
	}
	var out strings.Builder
	for _, sub := range re.Sub { // of anchors none, of repetitions the one
		out.WriteString(sample(sub))
	}
	return out.String()
}
