package risk

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// byManifest looks into files where only some lines run something.
func byManifest(f File, out *collector) {
	if f.gone() {
		return
	}
	base := path.Base(f.lower())
	switch base {
	case "package.json":
		packageJSON(f, out)
	case ".gitattributes":
		gitAttributes(f, out)
	case "pyproject.toml", "setup.cfg":
		if newText(f, "build-backend", "backend-path", "cmdclass") {
			out.add("runs-on-install", carrel.SeverityHigh, "it names code that runs when the project is installed or built")
		}
	case "cargo.toml":
		if newText(f, "proc-macro", "build =", "build=", "build-dependencies") {
			out.add("runs-on-build", carrel.SeverityHigh, "it names code that runs when the project is built")
		}
	case "composer.json":
		if newText(f, `"scripts"`, "plugin") {
			out.add("runs-on-install", carrel.SeverityHigh, "its scripts or plugins run when dependencies are installed")
		}
	}
	if strings.HasSuffix(base, ".go") && newText(f, "//go:generate", "#cgo ", "// #cgo") {
		out.add("runs-on-build", carrel.SeverityMedium, "it holds go:generate or cgo directives, which run commands")
	}
}

// newText reports whether the new content holds one of the phrases more often
// than the old one.
func newText(f File, phrases ...string) bool {
	now, was := string(f.Now.Bytes), string(f.Was.Bytes)
	return slices.ContainsFunc(phrases, func(p string) bool {
		return strings.Count(now, p) > strings.Count(was, p)
	})
}

type packageManifest struct {
	Scripts              map[string]json.RawMessage `json:"scripts"`
	Dependencies         map[string]json.RawMessage `json:"dependencies"`
	DevDependencies      map[string]json.RawMessage `json:"devDependencies"`
	OptionalDependencies map[string]json.RawMessage `json:"optionalDependencies"`
	PeerDependencies     map[string]json.RawMessage `json:"peerDependencies"`
	Overrides            json.RawMessage            `json:"overrides"`
	Resolutions          json.RawMessage            `json:"resolutions"`
	PackageManager       json.RawMessage            `json:"packageManager"`
	Gypfile              json.RawMessage            `json:"gypfile"`
}

// installScripts run without being asked for.
var installScripts = []string{"preinstall", "install", "postinstall", "prepare", "preprepare", "postprepare", "prepublish", "prepack", "postpack", "dependencies"}

func packageJSON(f File, out *collector) {
	var now, was packageManifest
	if json.Unmarshal(f.Now.Bytes, &now) != nil || !f.Now.Whole {
		out.add("runs-on-install", carrel.SeverityHigh, "its scripts cannot be read: it is no valid JSON, or very long")
		return
	}
	_ = json.Unmarshal(f.Was.Bytes, &was) // what cannot be read had no scripts: all of them are new
	changed := []string{}
	for _, name := range slices.Sorted(maps.Keys(now.Scripts)) {
		if string(now.Scripts[name]) == string(was.Scripts[name]) {
			continue
		}
		if slices.Contains(installScripts, name) {
			out.add("runs-on-install", carrel.SeverityHigh, fmt.Sprintf("it changes the script %q, which npm runs by itself", name))
		}
		changed = append(changed, name)
	}
	if len(changed) > 0 {
		out.add("runs-on-test", carrel.SeverityMedium, "it changes the scripts "+quoted(changed))
	}
	if string(now.Gypfile) != string(was.Gypfile) {
		out.add("runs-on-install", carrel.SeverityHigh, "it switches building native code at installation")
	}
	if !sameDependencies(now, was) {
		out.add("changes-dependencies", carrel.SeverityMedium, "it says which foreign code the project uses")
	}
}

// quoted lists a few names, cut, so that a reason stays one line.
func quoted(names []string) string {
	var b strings.Builder
	for i, n := range names {
		if i == 5 {
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", n[:min(len(n), 40)])
	}
	return b.String()
}

func sameDependencies(a, b packageManifest) bool {
	x, _ := json.Marshal([]any{a.Dependencies, a.DevDependencies, a.OptionalDependencies, a.PeerDependencies, a.Overrides, a.Resolutions, a.PackageManager})
	y, _ := json.Marshal([]any{b.Dependencies, b.DevDependencies, b.OptionalDependencies, b.PeerDependencies, b.Overrides, b.Resolutions, b.PackageManager})
	return string(x) == string(y)
}

// gitAttributes: attributes alone run nothing, but they choose which of the
// user's filters, merge and diff drivers run, and what git calls binary.
func gitAttributes(f File, out *collector) {
	out.add("git-attributes", carrel.SeverityMedium, "it changes how git shows, merges and checks out files")
	if newText(f, "filter=", "merge=", "diff=", "working-tree-encoding", "export-subst", "ident") {
		out.add("git-attributes", carrel.SeverityHigh, "it chooses filters, merge or diff drivers, which git runs")
	}
}
