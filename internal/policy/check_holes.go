package policy

import (
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// holes tries each rule with inputs beside those it speaks of. What it reports
// was answered by the policy itself.
func (c *checker) holes() {
	for _, m := range c.program.modules {
		ast.WalkRules(m.ast, func(r *ast.Rule) bool {
			c.prefixes(r)
			c.paths(r)
			c.commands(r)
			c.below(r)
			return false
		})
	}
}

// test is a function of text applied to a field, as startswith(input.path, "/x").
type test struct {
	function, field, text string
	at                    *ast.Location
}

func testsOf(r *ast.Rule) []test {
	var out []test
	ast.WalkExprs(r, func(x *ast.Expr) bool {
		if !x.IsCall() || len(x.Operands()) != 2 {
			return false
		}
		for _, side := range [][2]int{{0, 1}, {1, 0}} {
			ref, isRef := x.Operand(side[0]).Value.(ast.Ref)
			text, isText := x.Operand(side[1]).Value.(ast.String)
			if !isRef || !isText || len(ref) < 2 || !ref[0].Equal(ast.InputRootDocument) {
				continue
			}
			field, _ := ref[1].Value.(ast.String)
			out = append(out, test{x.Operator().String(), string(field), string(text), x.Location})
		}
		return false
	})
	return out
}

// prefixes finds tests that hold for more than they name: a path without its
// slash, a host without its dot.
func (c *checker) prefixes(r *ast.Rule) {
	for _, t := range testsOf(r) {
		var tried []carrel.Action
		message := "startswith(input.path, %q) holds for neighbours too; end it with a slash"
		switch {
		case t.field == "path" && t.function == "startswith" && !strings.HasSuffix(t.text, "/"):
			tried = c.files(t.text+"x/evil", t.text+"-other/evil")
		case t.field == "host" && t.function == "endswith" && !strings.HasPrefix(t.text, "."):
			message = "endswith(input.host, %q) holds for other people's names too; begin it with a dot, or compare whole names"
			tried = c.hosts("evil" + t.text)
		case t.field == "host" && (t.function == "startswith" || t.function == "contains"):
			message = "a host that begins with or holds %q may be anybody's; compare its end, or whole names"
			tried = c.hosts(strings.Trim(t.text, ".")+".evil.test", "x."+strings.Trim(t.text, ".")+".evil.test")
		case t.field == "path" && t.function == "contains":
			message = "contains(input.path, %q) holds anywhere in a path; use startswith, or input.parts"
			tried = c.files("/workspace/evil/" + strings.Trim(t.text, "/") + "/x")
			tried = slices.DeleteFunc(tried, func(carrel.Action) bool { return r.Head.Name != "allow" })
		}
		for _, a := range tried {
			if c.own(a).Verdict == carrel.Allow {
				c.show("prefix-without-end", t.at, a, message, t.text)
			}
		}
	}
}

func (c *checker) files(paths ...string) []carrel.Action {
	var out []carrel.Action
	for _, op := range c.report.Governs {
		for _, p := range paths {
			if slices.Contains(fileOperations, op) && checkPath("/"+strings.TrimPrefix(p, "/")) == nil {
				out = append(out, fileProbe(op, "/"+strings.TrimPrefix(p, "/")))
			}
		}
	}
	return out
}

func (c *checker) hosts(hosts ...string) []carrel.Action {
	var out []carrel.Action
	for _, op := range c.report.Governs {
		for _, host := range hosts {
			if slices.Contains([]carrel.Operation{carrel.OpResolve, carrel.OpConnect, carrel.OpRequest}, op) && checkHost(host) == nil {
				out = append(out, hostProbes(op, words{"host": {host}})...)
			}
		}
	}
	return slices.DeleteFunc(out, func(a carrel.Action) bool { return !slices.Contains(hosts, a.Host) })
}

// paths finds a denial or an ask that a neighbour of what it names gets past:
// what lies below it, another case, another place.
func (c *checker) paths(r *ast.Rule) {
	if r.Head.Name == "allow" {
		return
	}
	texts := pathTexts(r)
	for _, witness := range c.files(witnesses(texts, c.allowedPlaces())...) {
		if !stopped(c.own(witness)) {
			continue
		}
		p := witness.Path
		for _, v := range []struct{ check, message, path string }{
			{"not-below", "what lies below %s is let by: a test of the end of a path, or of all of it, says nothing about its children", p + "/below"},
			{"other-case", "the same name in another case is let by, and is the same file on many systems: %s; compare input.parts, which are folded", path.Dir(p) + "/" + strings.ToUpper(path.Base(p))},
			{"other-place", "the same name elsewhere is let by: %s; look at input.parts or input.classes instead of the beginning of the path", moved(p, texts)},
		} {
			a := fileProbe(witness.Operation, v.path)
			if v.path != "" && v.path != p && checkPath(v.path) == nil && c.own(a).Verdict == carrel.Allow {
				c.show(v.check, r.Location, a, v.message, p)
			}
		}
	}
}

// pathTexts are the texts that a rule about paths speaks of: in tests, sets and
// patterns, of which it is something they match.
func pathTexts(r *ast.Rule) []string {
	var out []string
	if !slices.Contains(fieldsRead(r), "path") {
		return nil
	}
	ast.WalkTerms(r.Body, func(t *ast.Term) bool {
		if s, ok := t.Value.(ast.String); ok && strings.ContainsAny(string(s), "/.") && len(out) < maxTried {
			out = append(out, matched(string(s)))
		}
		return false
	})
	return out
}

// maxTried bounds what one rule is tried with, and maxPlaces where.
const maxTried, maxPlaces = 8, 8

// matched is something that a pattern holds for, or the text itself.
func matched(pattern string) string { return patternWords.Replace(pattern) }

var patternWords = strings.NewReplacer("**", "deep/er", ".*", "any", "*", "any", "?", "x", "^", "", "$", "", `\`, "")

// allowedPlaces are where the layer allows something, by the beginnings of
// paths that it names: a rule that denies matters there.
func (c *checker) allowedPlaces() []string {
	var out []string
	for _, m := range c.program.modules {
		ast.WalkRules(m.ast, func(r *ast.Rule) bool {
			for _, t := range testsOf(r) {
				if r.Head.Name == "allow" && t.field == "path" && t.function == "startswith" && len(out) < maxPlaces {
					out = append(out, t.text)
				}
			}
			return false
		})
	}
	return out
}

// witnesses are paths for which tests of all these texts may hold, at these
// places too.
func witnesses(texts, places []string) []string {
	var out []string
	for _, a := range texts {
		a = strings.TrimSuffix(a, "/")
		for _, place := range places {
			out = append(out, path.Clean("/"+place+"/"+a), path.Clean("/"+place+"/x"+a))
		}
		out = append(out, path.Clean("/"+a), path.Clean("/workspace/"+a), path.Clean("/workspace/x"+a), path.Clean("/"+a+"/file"))
		for _, b := range texts {
			b = strings.Trim(b, "/")
			out = append(out, path.Clean("/"+a+"/user/"+b), path.Clean("/"+a+"/user/"+b+"/file"), path.Clean("/"+a+"/"+b))
		}
	}
	return out
}

// moved is the path with the part that a text names below the workspace
// instead of where it is.
func moved(p string, texts []string) string {
	for _, text := range texts {
		name := "/" + strings.Trim(text, "/")
		if i := strings.Index(p, name); i > 0 && !strings.HasPrefix(p, "/workspace") {
			return "/workspace" + p[i:]
		}
	}
	return ""
}

// below finds a denial of a host that its subdomains get past.
func (c *checker) below(r *ast.Rule) {
	for _, x := range r.Body {
		ref, value, ok := equality(x)
		if !ok || r.Head.Name == "allow" || ref.String() != "input.host" {
			continue
		}
		host, _ := value.Value.(ast.String)
		for _, named := range c.hosts(string(host)) {
			sub := named
			sub.Host = "sub." + named.Host
			if checkHost(sub.Host) == nil && stopped(c.own(named)) && c.own(sub).Verdict == carrel.Allow {
				c.show("not-below", x.Location, sub, "names below %s are let by; compare with endswith(input.host, %q) too", host, "."+string(host))
			}
		}
	}
}

// commands finds a denial of a program that its full path gets past.
func (c *checker) commands(r *ast.Rule) {
	if r.Head.Name == "allow" || !slices.Contains(c.report.Governs, carrel.OpExec) {
		return
	}
	for _, t := range testsOf(r) {
		if t.field != "argv" || strings.ContainsAny(t.text, " /") {
			continue
		}
		named := carrel.Action{Operation: carrel.OpExec, Argv: []carrel.Text{carrel.Text(t.text), "x"}}
		full := carrel.Action{Operation: carrel.OpExec, Argv: []carrel.Text{carrel.Text("/usr/bin/" + t.text), "x"}}
		if stopped(c.own(named)) && c.own(full).Verdict == carrel.Allow {
			c.show("program-by-word", t.at, full, "the program by its full path is let by; look for %q in input.programs instead of input.argv[0]", t.text)
		}
	}
}
