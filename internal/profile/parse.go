package profile

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads one profile. A key it does not know is an error with its line.
func Parse(raw []byte) (Profile, error) {
	var p Profile
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&p); err != nil {
		return Profile{}, fmt.Errorf("reading the profile: %w", err)
	}
	return p, p.check()
}

// ParseNode reads a profile of the user's configuration. `extends: NAME` takes
// what the known profile NAME says where this one says nothing.
func ParseNode(name string, node *yaml.Node) (Profile, error) {
	var own struct {
		Extends string `yaml:"extends"`
		Profile `yaml:",inline"`
	}
	raw, err := yaml.Marshal(node)
	if err != nil {
		return Profile{}, fmt.Errorf("reading the profile: %w", err)
	}
	// The first pass finds what is extended, the second lays the rest over it.
	if err := node.Decode(&own); err != nil {
		return Profile{}, fmt.Errorf("reading the profile: %w", err)
	}
	if base := own.Extends; base != "" {
		known, ok := Get(base)
		if !ok {
			return Profile{}, fmt.Errorf("extends %q: there is no such profile; known are %s", base, strings.Join(Names(), ", "))
		}
		own.Profile = known
		own.Match = nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&own); err != nil {
		return Profile{}, fmt.Errorf("line %d: reading the profile: %w", node.Line, err)
	}
	if own.Name != "" && own.Name != name && own.Extends == "" {
		return Profile{}, fmt.Errorf("it is called %q where it is defined and %q inside", name, own.Name)
	}
	own.Name = name
	if own.Title == "" {
		own.Title = name
	}
	return own.Profile, own.check()
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	letter = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	digit  = "0123456789"
)

func isName(s string) bool {
	return len(s) <= 40 && s != "" && strings.Contains(lower, s[:1]) && strings.Trim(s, lower+digit+"-") == ""
}

func isVariable(s string) bool {
	return s != "" && !strings.Contains(digit, s[:1]) && strings.Trim(s, letter+digit) == ""
}

// check refuses what could not be meant. What is granted is checked again, as
// any grant is, by the packages that carry it out.
func (p Profile) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !isName(p.Name) {
		wrong("name %q: use lower-case letters, digits and dashes", p.Name)
	}
	for _, m := range p.Match {
		if m == "" || strings.ContainsAny(m, "/ *") {
			wrong("match %q: it must be the name of a command", m)
		}
	}
	for _, f := range p.Home.Fill {
		if f.Path == "" || path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || strings.HasPrefix(f.Path, "..") {
			wrong("home file %q: it must be a path in the home", f.Path)
		}
		if f.Text != "" && (len(f.Keep) > 0 || len(f.Set) > 0) {
			wrong("home file %q: either text, or keep and set", f.Path)
		}
	}
	targets := append(append([]string{}, p.Briefings...), p.HostFiles...)
	for _, m := range p.Managed {
		targets = append(targets, m.Path)
	}
	for _, target := range targets {
		if !path.IsAbs(target) || path.Clean(target) != target {
			wrong("%q: it must be an absolute path", target)
		}
	}
	variables := p.Env
	if p.Model != nil {
		variables = append(variables[:len(variables):len(variables)], p.Model.Env...)
		errs = append(errs, p.Model.check())
	}
	for _, v := range variables {
		if !isVariable(v.Name) || strings.ContainsAny(v.Value, "\x00\n") {
			wrong("variable %q: it is no name, or its value is no line", v.Name)
		}
	}
	return errors.Join(errs...)
}

func (m Model) check() error {
	u, err := url.Parse(m.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return fmt.Errorf("model endpoint %q: it must be an http or https address", m.Endpoint)
	}
	if m.Header == "" {
		return fmt.Errorf("model: say which header carries the key")
	}
	for _, k := range m.Keys {
		given := 0
		for _, s := range []string{k.Env, k.File, k.Helper} {
			if s != "" {
				given++
			}
		}
		if given != 1 || k.Helper != "" && k.JSON == "" {
			return fmt.Errorf("model key: exactly one of env, file and helper (with json)")
		}
	}
	return nil
}
