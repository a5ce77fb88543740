package policy

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// words are the texts that a policy compares fields of the input with, by
// field: what is tried on a policy is built from what it speaks of.
type words map[string][]string

func (w words) add(field, text string) {
	if text != "" && len(text) < 1000 && !slices.Contains(w[field], text) {
		w[field] = append(w[field], text)
	}
}

// wordsOf collects the constants of every expression that reads a field of
// the input, and of what a rule's variables may stand for, such as a table.
func wordsOf(modules []module) words {
	out := words{}
	for _, m := range modules {
		ast.WalkRules(m.ast, func(r *ast.Rule) bool {
			fields := fieldsRead(r)
			ast.WalkTerms(r, func(t *ast.Term) bool {
				if s, ok := t.Value.(ast.String); ok {
					for _, f := range fields {
						out.add(f, string(s))
					}
				}
				return false
			})
			return false
		})
	}
	return out
}

// fieldsRead lists the top fields of the input that a rule reads. A rule that
// reads none, such as a table, may be about any.
func fieldsRead(r *ast.Rule) []string {
	seen := map[string]bool{}
	ast.WalkRefs(r, func(ref ast.Ref) bool {
		if len(ref) > 1 && ref[0].Equal(ast.InputRootDocument) {
			if s, ok := ref[1].Value.(ast.String); ok {
				seen[string(s)] = true
			}
		}
		return false
	})
	if len(seen) == 0 {
		return []string{"path", "host", "argv"}
	}
	return slices.Sorted(maps.Keys(seen))
}

// probes returns actions that try a policy with these words: what it speaks
// of, what lies beside and below it, and what it may not have thought of. The
// same words give the same probes.
func probes(w words, governs []carrel.Operation) []carrel.Action {
	var out []carrel.Action
	for _, op := range governs {
		switch op {
		case carrel.OpRead, carrel.OpWrite, carrel.OpDelete:
			for _, p := range probePaths(w) {
				out = append(out, fileProbe(op, p))
			}
		case carrel.OpExec:
			for _, argv := range probeCommands(w) {
				out = append(out, carrel.Action{Operation: op, Argv: argv, Cwd: "/workspace"})
			}
		case carrel.OpResolve, carrel.OpConnect, carrel.OpRequest:
			out = append(out, hostProbes(op, w)...)
		}
	}
	return out
}

func fileProbe(op carrel.Operation, p string) carrel.Action {
	return carrel.Action{Operation: op, Path: p, RawPath: carrel.Text(p)}
}

// commonPaths is tried on every policy.
var commonPaths = []string{
	"/workspace/main.go", "/workspace/README.md", "/workspace/src/app/index.ts", "/workspace/.env", "/workspace/.git/hooks/pre-commit",
	"/workspace/.github/workflows/ci.yml", "/workspace/package.json", "/workspace/.claude/settings.json", "/workspace/secrets/prod.pem",
	"/home/user/.ssh/authorized_keys", "/root/.ssh/id_ed25519", "/etc/passwd", "/workspacex/evil", "/tmp/x",
}

func probePaths(w words) []string {
	out := slices.Clone(commonPaths)
	for _, text := range append(w["path"], w["parts"]...) {
		for _, p := range pathsAbout(text) {
			if checkPath(p) == nil && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// pathsAbout are paths that a text in a rule may mean, and their neighbours.
func pathsAbout(text string) []string {
	plain := matched(text)
	var out []string
	for _, p := range []string{plain, "/workspace/" + plain, "/workspace/sub/" + plain, "/workspace/file" + plain} {
		p = path.Clean("/" + strings.TrimPrefix(p, "/"))
		out = append(out, p, p+"/below", p+"x", p+"x/below", strings.ToUpper(p), path.Dir(p)+"/"+strings.ToUpper(path.Base(p)))
	}
	return out
}

var commonCommands = []string{"go test ./...", "git status", "git push", "curl https://example.com", "sh -c ls", "rm -rf /workspace", "sudo id", "npm install x"}

func probeCommands(w words) [][]carrel.Text {
	lines := slices.Clone(commonCommands)
	for _, word := range slices.Concat(w["argv"], w["program"], w["programs"], w["path"]) {
		if !strings.ContainsAny(word, " \n") {
			lines = append(lines, word, word+" x", "/usr/bin/"+path.Base(word)+" x", "git "+word, "env "+word, strings.ToUpper(word)+" x")
		}
	}
	var out [][]carrel.Text
	for _, line := range lines {
		var argv []carrel.Text
		for word := range strings.FieldsSeq(line) {
			argv = append(argv, carrel.Text(word))
		}
		if len(argv) > 0 {
			out = append(out, argv)
		}
	}
	return out
}

func hostProbes(op carrel.Operation, w words) []carrel.Action {
	hosts := []string{"example.com", "evil.test", "10.0.0.1"}
	for _, text := range w["host"] {
		plain := strings.Trim(strings.ReplaceAll(text, "*", "any"), ".")
		hosts = append(hosts, plain, "sub."+plain, "evil"+plain, plain+".evil.test", plain+"x.test")
	}
	var out []carrel.Action
	for _, host := range hosts {
		if checkHost(host) != nil {
			continue
		}
		a := carrel.Action{Operation: op, Host: host}
		if op != carrel.OpResolve {
			a.Port, a.Protocol = 443, carrel.ProtoTLS
		}
		if op == carrel.OpRequest {
			a.Method, a.URL = "POST", "/"
		}
		out = append(out, a)
	}
	return out
}
