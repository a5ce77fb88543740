//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
)

// sarifSchema is a package of the format's makers (MIT): the schema that OASIS
// published, as JSON, and a validator that it is made for.
const sarifSchema = "@microsoft/jest-sarif@1.0.0-beta.0"

// The validator knows the schema's formats (URI references among them). It
// prints one line for what is wrong, and nothing else.
const sarifValidator = `
const fs = require("fs"), base = process.argv[2] + "/node_modules/";
const Ajv = require(base + "ajv");
const ajv = new Ajv({schemaId: "auto", allErrors: true, logger: false});
ajv.addMetaSchema(require(base + "ajv/lib/refs/json-schema-draft-04.json"));
const schema = JSON.parse(fs.readFileSync(base + "@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json"));
const valid = ajv.compile(schema);
for (const text of JSON.parse(fs.readFileSync(0)))
  console.log(valid(JSON.parse(text)) ? "valid" : ajv.errorsText(valid.errors));
`

// sarifVerdicts is what the schema says of each text.
func sarifVerdicts(h *host, texts ...string) []string {
	h.Helper()
	needs.Tool(h.T, "node")
	dir := installed(h.T, sarifSchema, func(dir string) error {
		return loudly(dir, "npm", "install", "--prefix", dir, "--ignore-scripts", "--no-fund", "--no-audit", sarifSchema, "ajv@6.12.6")
	})
	program := filepath.Join(h.dir, "validate.js")
	if err := os.WriteFile(program, []byte(sarifValidator), 0o644); err != nil {
		h.Fatal(err)
	}
	in, err := json.Marshal(texts)
	if err != nil {
		h.Fatal(err)
	}
	cmd := exec.Command("node", program, dir)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		h.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// What code hosts read is valid by the format's own schema, whatever the names
// of files and the reasons of rules are, and so is the answer to no change.
func TestSARIFIsValid(t *testing.T) {
	h := asUser(t)
	policy := h.write("team.rego", `package cowork.access

import rego.v1

default allow := false

allow if true

deny contains {"rule": "a \"rule\"\u202e", "msg": "reason\n\u0001 with \\ everything"} if endswith(input.path, ".sql")

deny contains {"rule": "unnamed", "msg": ""} if endswith(input.path, ".empty")
`)
	nothing := h.must("policy", "check-change", "--sarif").out
	for _, name := range []string{".github/workflows/ci.yml", "1.sql", "%41 b?c#d.sql", "a:b.sql", "b.empty", "\u202etxt.sql", "new\nline.sql", "\xff\xfe.sql", "ünï[0].sql", "x y/ .sql"} {
		h.write("repo/"+name, "text\n")
	}
	h.git("add", "-A")
	r := h.carrel("policy", "check-change", "--sarif", "--policy", policy)
	h.expect(r, 3)
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Locations []struct {
					PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(r.out), &log); err != nil {
		t.Fatal(err)
	}
	errors := 0
	for _, one := range log.Runs[0].Results {
		if rules := log.Runs[0].Tool.Driver.Rules; rules[one.RuleIndex].ID != one.RuleID {
			t.Errorf("result of %q points at rule %q", one.RuleID, rules[one.RuleIndex].ID)
		}
		uri := one.Locations[0].PhysicalLocation.ArtifactLocation.URI
		if to, err := url.Parse(uri); err != nil || to.IsAbs() || to.RawQuery != "" || to.Fragment != "" {
			t.Errorf("%q is no reference to a file below the root: %v", uri, err)
		}
		if one.Level == "error" {
			errors++
		}
	}
	if errors != 9 {
		t.Errorf("%d errors of 9\n%s", errors, r.out)
	}
	wrong := []string{
		strings.Replace(r.out, `"level": "error"`, `"level": "fatal"`, 1),
		strings.Replace(r.out, `"uri": "1.sql"`, `"uri": "a b<"`, 1),
		strings.Replace(r.out, `"version": "2.1.0"`, `"version": "2.0.0"`, 1),
	}
	for i, said := range sarifVerdicts(h, append([]string{r.out, nothing}, wrong...)...) {
		if (said == "valid") != (i < 2) {
			t.Errorf("text %d: %s", i, said)
		}
	}
}
