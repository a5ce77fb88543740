//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/policies"
)

const (
	conftestModule   = "github.com/open-policy-agent/conftest@v0.71.1"
	missingGoProgram = "neither on the PATH nor in bin/tools, and it could not be built"
)

// opaModule is OPA's command at the version that go.mod names.
func opaModule() string {
	const path = "github.com/open-policy-agent/opa"
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", path).Output()
	if err != nil {
		return path + "@latest"
	}
	return path + "@" + strings.TrimSpace(string(version))
}

// goProgram finds a peer that is written in Go, on the PATH or in bin/tools,
// where it is built at its pinned version if it is missing: that changes
// nothing of the machine. "" if it cannot be built.
func (b *bench) goProgram(name, module string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	tools, err := filepath.Abs(filepath.Join("bin", "tools"))
	if err != nil {
		return ""
	}
	path := filepath.Join(tools, name)
	if _, err := os.Stat(path); err != nil {
		_ = loud("env", "GOBIN="+tools, "CGO_ENABLED=0", "go", "install", module)
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// decidePrepared asks OPA itself, as its documentation shows: a query that was
// prepared once, and an input that was parsed before. Without sources it has
// the built-in rules about files; it is asked for the answers that Carrel
// reads, about the inputs that Carrel makes.
func decidePrepared(name string, sources ...string) *decider {
	d := &decider{name: name, count: 500}
	if d.missing = d.prepare(sources); d.missing != "" {
		d.once = nil
	}
	return d
}

func (d *decider) prepare(sources []string) (missing string) {
	pkg := "data.cowork.access"
	if len(sources) == 0 {
		floor, err := policies.Bundle.ReadFile("files.rego")
		if err != nil {
			return err.Error()
		}
		pkg, sources = "data.carrel.builtin.files", []string{string(floor)}
	}
	ctx := context.Background()
	options := []func(*rego.Rego){rego.Query("allow := " + pkg + ".allow; deny := [x | x := " + pkg + ".deny]; ask := [x | x := " + pkg + ".ask]"), rego.StrictBuiltinErrors(true)}
	for _, source := range sources {
		options = append(options, rego.Module("policy.rego", source))
	}
	query, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return err.Error()
	}
	inputs := make([]ast.Value, 500)
	for i := range inputs {
		text, err := policy.InputOf(benchAction(i))
		if err == nil {
			inputs[i], err = ast.ValueFromReader(strings.NewReader(string(text)))
		}
		if err != nil {
			return err.Error()
		}
	}
	d.once = func(i int) error {
		answer, err := query.Eval(ctx, rego.EvalParsedInput(inputs[i%len(inputs)]))
		if err == nil && (len(answer) != 1 || answer[0].Bindings["allow"] != true) {
			err = errors.New("it does not allow")
		}
		return err
	}
	return ""
}
