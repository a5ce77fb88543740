package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// unasked finds rules that seem to answer and are never asked.
func (c *checker) unasked() {
	used := c.program.referenced()
	for _, m := range c.program.modules {
		asked := slices.Contains(c.report.Packages, m.pkg())
		for _, r := range m.ast.Rules {
			name, full := named(m, r)
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

// named is the first part of a rule's name, and that as others refer to it.
func named(m module, r *ast.Rule) (name, full string) {
	name = r.Head.Ref()[0].Value.String()
	return name, m.ast.Package.Path.Append(ast.StringTerm(strings.Trim(name, `"`))).String()
}

// referenced are what the rules of a program refer to.
func (p *program) referenced() map[string]bool {
	used := map[string]bool{}
	for _, m := range p.compiler.Modules {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			used[r.ConstantPrefix().String()] = true
			return false
		})
	}
	return used
}

// misspelt is an error if a package that is asked has an answer with a letter
// wrong, which nobody would hear. Other names that people may have meant as
// answers are for check to find.
func (p *program) misspelt(asked []string) error {
	var used map[string]bool
	for _, m := range p.modules {
		if !slices.Contains(asked, m.pkg()) {
			continue
		}
		for _, r := range m.ast.Rules {
			name, full := named(m, r)
			answer := nearAnswer(name)
			if answer == "" {
				continue
			}
			if used == nil {
				used = p.referenced()
			}
			if !used[full] {
				return fmt.Errorf("%s:%d: `%s` is no answer and nothing uses it: say `%s`, or give it another name", m.file.Name, r.Location.Row, name, answer)
			}
		}
	}
	return nil
}

// nearAnswer is the answer that name is with a letter wrong; "" if there is
// none, or it is that answer.
func nearAnswer(name string) string {
	if slices.Contains(answerNames[:], name) {
		return ""
	}
	for _, answer := range answerNames {
		if strings.EqualFold(name, answer) || len(answer) > 3 && oneEdit(name, answer) {
			return answer
		}
	}
	return ""
}

// seemsAnswer reports whether somebody may have meant allow, deny or ask.
func seemsAnswer(name string) bool {
	switch strings.ToLower(name) {
	case "denied", "denies", "denys", "dennied", "allowed", "allows", "asks", "asked", "violation", "violations", "warn", "reject", "forbid", "block", "permit":
		return true
	}
	return nearAnswer(name) != ""
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
