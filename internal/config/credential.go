package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Credential is a key that stays outside: where it comes from, the only places
// it goes to, and where the agent finds what stands for it. A repository says
// the name only.
type Credential struct {
	Name string `yaml:"name" json:"name"`

	Host    string   `yaml:"host" json:"host,omitempty"`
	Port    int      `yaml:"port" json:"port,omitempty"`     // 0: 443
	Header  string   `yaml:"header" json:"header,omitempty"` // alone, or after one word such as Bearer
	Basic   string   `yaml:"basic" json:"basic,omitempty"`   // as the password of this user
	Query   string   `yaml:"query" json:"query,omitempty"`   // in this parameter
	Methods []string `yaml:"methods" json:"methods,omitempty"`
	Paths   []string `yaml:"paths" json:"paths,omitempty"`
	Own     bool     `yaml:"own" json:"own,omitempty"` // the agent's own keys may go there, too
	Also    []Place  `yaml:"also" json:"also,omitempty"`

	From Key      `yaml:"from" json:"from"`
	As   As       `yaml:"as" json:"as"`
	For  Duration `yaml:"for" json:"for,omitempty"`   // how long it is lent
	Lend string   `yaml:"lend" json:"lend,omitempty"` // always, or named: only where asked for
}

// Place is a further destination of a credential.
type Place struct {
	Host    string   `yaml:"host" json:"host"`
	Port    int      `yaml:"port" json:"port,omitempty"`
	Header  string   `yaml:"header" json:"header,omitempty"`
	Basic   string   `yaml:"basic" json:"basic,omitempty"`
	Query   string   `yaml:"query" json:"query,omitempty"`
	Methods []string `yaml:"methods" json:"methods,omitempty"`
	Paths   []string `yaml:"paths" json:"paths,omitempty"`
	Own     bool     `yaml:"own" json:"own,omitempty"`
}

// As says where the agent finds the placeholder: in a variable, or in a file
// of its home. Text is what is there, with {placeholder} where it belongs;
// empty is the placeholder alone.
type As struct {
	Env  string `yaml:"env" json:"env,omitempty"`
	File string `yaml:"file" json:"file,omitempty"` // ~/…
	Text string `yaml:"text" json:"text,omitempty"`
}

// Places lists every destination of the credential.
func (c Credential) Places() []Place {
	first := Place{c.Host, c.Port, c.Header, c.Basic, c.Query, c.Methods, c.Paths, c.Own}
	return append([]Place{first}, c.Also...)
}

// placeholderWord stands for the placeholder in As.Text.
const placeholderWord = "{placeholder}"

// Fill returns what the agent finds.
func (a As) Fill(placeholder string) string {
	switch {
	case a.Text != "":
		return strings.ReplaceAll(a.Text, placeholderWord, placeholder)
	case a.File != "":
		return placeholder + "\n"
	}
	return placeholder
}

func (s Source) checkCredential(c *Credential) error {
	if s.Layer == Repository {
		return c.checkNamed()
	}
	if c.Name == "" {
		return errors.New("a credential needs a name")
	}
	if c.Host == "" {
		return fmt.Errorf("credential %s needs the host it goes to", cut(c.Name))
	}
	if err := s.checkKey(&c.From); err != nil {
		return fmt.Errorf("credential %s: from: %w", cut(c.Name), err)
	}
	if err := c.As.check(); err != nil {
		return fmt.Errorf("credential %s: as: %w", cut(c.Name), err)
	}
	if c.Lend != "" {
		if err := oneOf("always", "named")(&c.Lend); err != nil {
			return fmt.Errorf("credential %s: lend: %w", cut(c.Name), err)
		}
	}
	if c.For < 0 {
		return fmt.Errorf("credential %s: for: it must be longer than nothing", cut(c.Name))
	}
	return nil
}

// checkNamed holds a repository to the name: where a key comes from and where
// it goes is not for a repository to say.
func (c *Credential) checkNamed() error {
	if len(c.Places()) != 1 || c.Host != "" || c.Port != 0 || c.Header != "" || c.Basic != "" || c.Query != "" || c.Own ||
		len(c.Methods)+len(c.Paths)+len(c.From.Command) > 0 || c.From.Env+c.From.File != "" || c.As != (As{}) || c.For != 0 || c.Lend != "" {
		return errors.New("a repository may name a credential and nothing more; where it comes from and goes is said in your own configuration or the organisation's")
	}
	if !credentialName().MatchString(c.Name) {
		return fmt.Errorf("%q is not the name of a credential", cut(c.Name))
	}
	return nil
}

func (a As) check() error {
	home, inHome := strings.CutPrefix(a.File, "~/")
	switch {
	case a.Env == "" && a.File == "":
		if a.Text != "" {
			return errors.New("text goes into a variable or a file: say env or file")
		}
		return nil // for git alone, which is told by itself
	case a.Env != "" && a.File != "":
		return errors.New("it is either a variable or a file")
	case a.Env != "" && !envName().MatchString(a.Env):
		return fmt.Errorf("%q is not the name of a variable", cut(a.Env))
	case a.File != "" && (!inHome || !filepath.IsLocal(home) || filepath.Clean(home) != home):
		return fmt.Errorf("%q is not a clean path in the agent's home (~/…)", cut(a.File))
	case a.Text != "" && !strings.Contains(a.Text, placeholderWord):
		return fmt.Errorf("the text does not say where the placeholder goes: write %s there", placeholderWord)
	case strings.ContainsRune(a.Text, 0), a.Env != "" && strings.ContainsAny(a.Text, "\n"):
		return errors.New("the text holds characters that it cannot")
	}
	return nil
}

// named returns the names of the credentials that a repository asks for.
func named(repo *File) []string {
	var out []string
	for _, c := range repo.Credentials {
		out = append(out, c.Value.Name)
	}
	return out
}
