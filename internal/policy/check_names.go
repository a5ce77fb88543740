package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// unasked finds rules that seem to answer and are never asked.
func (c *checker) unasked() {
	used := map[string]bool{}
	for _, m := range c.program.compiler.Modules {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			used[r.ConstantPrefix().String()] = true
			return false
		})
	}
	for _, m := range c.program.modules {
		asked := slices.Contains(c.report.Packages, m.pkg())
		for _, r := range m.ast.Rules {
			name := r.Head.Ref()[0].Value.String()
			full := m.ast.Package.Path.Append(ast.StringTerm(strings.Trim(name, `"`))).String()
			switch {
			case used[full]:
			case !asked && slices.Contains(answerNames[:], name):
				c.add(Fault, "never-asked", r.Location, "`%s` in %s is never asked: use `package cowork.access`, or say `governs := {…}` in its package", name, m.ast.Package)
			case asked && seemsAnswer(name):
				c.add(Fault, "never-asked", r.Location, "`%s` is no answer: the answers are allow, deny and ask", name)
			}
		}
	}
}

// seemsAnswer reports whether somebody may have meant allow, deny or ask.
func seemsAnswer(name string) bool {
	switch strings.ToLower(name) {
	case "denied", "denies", "denys", "dennied", "allowed", "allows", "asks", "asked", "violation", "violations", "warn", "reject", "forbid", "block", "permit":
		return true
	}
	return !slices.Contains(answerNames[:], name) && slices.ContainsFunc(answerNames[:], func(answer string) bool {
		return strings.EqualFold(name, answer) || len(answer) > 3 && oneEdit(name, answer)
	})
}

// oneEdit reports whether one letter more, less, other or exchanged makes a of b.
func oneEdit(a, b string) bool {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	restA, restB := a[i:], b[i:]
	switch {
	case len(restA) == 0 || len(restB) == 0:
		return len(restA)+len(restB) == 1
	case restA[1:] == restB[1:], restA[1:] == restB, restA == restB[1:]:
		return true
	}
	return len(restA) > 1 && len(restB) > 1 && restA[0] == restB[1] && restA[1] == restB[0] && restA[2:] == restB[2:]
}
