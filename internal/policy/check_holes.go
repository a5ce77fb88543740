package policy

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// holes tries each rule with inputs beside those it speaks of. What it reports
// was answered by the policy itself.
func (c *checker) holes(ctx context.Context, progress func(done, total int64)) error {
	var rules []*ast.Rule
	for _, m := range c.program.modules {
		ast.WalkRules(m.ast, func(r *ast.Rule) bool {
			rules = append(rules, r)
			return false
		})
	}
	for i, r := range rules {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.prefixes(r)
		c.patterns(r)
		c.paths(r)
		c.operations(r)
		c.commands(r)
		c.words(r)
		c.below(r)
		c.queries(r)
		if progress != nil {
			progress(int64(i)+1, int64(len(rules)))
		}
	}
	return nil
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
		c.caseOfDirectory(r, witness)
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

// caseOfDirectory notes a denial that the directory in another case gets past.
// Where the file system tells cases apart it is another directory.
func (c *checker) caseOfDirectory(r *ast.Rule, witness carrel.Action) {
	rest, inside := strings.CutPrefix(path.Dir(witness.Path), "/workspace/")
	other := fileProbe(witness.Operation, "/workspace/"+strings.ToUpper(rest)+"/"+path.Base(witness.Path))
	if inside && other.Path != witness.Path && checkPath(other.Path) == nil && c.own(other).Verdict == carrel.Allow {
		c.shown(Note, "directory-case", r.Location, other, "the directory in another case is let by, and is the same where file systems fold case: %s; compare input.parts, which are folded", witness.Path)
	}
}

// operations finds a denial of writing that deleting gets past: a rename is a
// deletion too.
func (c *checker) operations(r *ast.Rule) {
	if r.Head.Name == "allow" || !slices.Contains(c.report.Governs, carrel.OpDelete) || !c.speaksOfWriteOnly(r) {
		return
	}
	texts := pathTexts(r)
	for _, word := range c.spoken["path"] {
		if namesPath(word) && len(texts) < maxTried { // perhaps in a function that the rule asks
			texts = append(texts, matched(word))
		}
	}
	for _, witness := range c.files(append(witnesses(texts, c.allowedPlaces()), commonPaths...)...) {
		a := fileProbe(carrel.OpDelete, witness.Path)
		if witness.Operation == carrel.OpWrite && stopped(c.own(witness)) && c.own(a).Verdict == carrel.Allow {
			c.show("other-operation", r.Location, a, "what may not be written may be deleted, and so be renamed or replaced: %s; say input.operation in {\"write\", \"delete\"}", a.Path)
			return
		}
	}
}

func (c *checker) speaksOfWriteOnly(r *ast.Rule) bool {
	said := wordsOf([]module{{ast: &ast.Module{Rules: []*ast.Rule{r}}}})["operation"]
	return slices.Contains(fieldsRead(r), "operation") && slices.Contains(said, "write") && !slices.Contains(said, "delete")
}

// pathTexts are the texts that a rule about paths speaks of: in tests, sets and
// patterns, of which it is something they match.
func pathTexts(r *ast.Rule) []string {
	var out []string
	if !slices.Contains(fieldsRead(r), "path") {
		return nil
	}
	for _, x := range r.Body {
		if x.Negated { // it speaks of what the rule leaves alone
			continue
		}
		ast.WalkTerms(x, func(t *ast.Term) bool {
			if s, ok := t.Value.(ast.String); ok && namesPath(string(s)) && len(out) < maxTried {
				out = append(out, matched(string(s)))
			}
			return false
		})
	}
	return out
}

// namesPath reports whether a text may be about a path: sentences are not.
func namesPath(text string) bool {
	return strings.HasPrefix(text, "/") || strings.ContainsAny(text, "/.") && !strings.Contains(text, " ")
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
			for _, t := range c.testsOf(r) {
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
