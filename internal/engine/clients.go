package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// ClientState says whether the hooks of an agent's client are live, as trying
// them showed.
type ClientState struct {
	Client string       `json:"client"`
	Scope  string       `json:"scope"`
	File   string       `json:"file"`
	Level  carrel.Level `json:"level"`
	How    string       `json:"how"`
	Fix    string       `json:"fix,omitempty"`
}

// Clients tries the hooks that are registered and prints how they stand: all
// that doctor can say where no desk can be built. It reports whether every one
// is live and the configuration can be read.
func Clients(ctx context.Context, host Host, asJSON bool) (bool, error) {
	e := &Records{host}
	states := e.clientStates(ctx)
	wrong := e.cannotBeRead(ctx)
	live := wrong == "" && !slices.ContainsFunc(states, func(s ClientState) bool { return s.Level == carrel.NotEnforced })
	if asJSON {
		return live, e.printJSON(map[string]any{"version": host.Version, "clients": states, "configuration": wrong})
	}
	if err := writeConfiguration(host.Stdout, wrong); err != nil {
		return live, err
	}
	if len(states) == 0 {
		_, err := fmt.Fprintln(host.Stdout, "no client is registered; carrel init CLIENT does it: "+clientNames())
		return live, err
	}
	table := tabwriter.NewWriter(host.Stdout, 0, 0, 2, ' ', 0)
	writeClients(table, states)
	return live, table.Flush()
}

// writeConfiguration says what is wrong with the configuration, if anything.
func writeConfiguration(out io.Writer, wrong string) error {
	if wrong == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "the configuration cannot be read, and nothing starts until it can: %s\n  fix: mend what it says, then carrel doctor again\n", terminal.EscapeText(wrong))
	return err
}

func writeClients(table io.Writer, states []ClientState) {
	for _, c := range states {
		fmt.Fprintf(table, "%s\t%s\t%s\n", strings.TrimSuffix(c.Client+" "+c.Scope, " "), c.Level, terminal.Escape(c.How))
		if c.Fix != "" {
			fmt.Fprintf(table, "\t\t  fix: %s\n", c.Fix)
		}
	}
}

// clientStates looks at every place where Carrel can be registered, and starts
// what is registered there if it is this program: nothing that a repository
// names is run. What is not registered is told only where the client is
// installed.
func (e *Records) clientStates(ctx context.Context) []ClientState {
	var out []ClientState
	project := projectAround(e.host.Cwd)
	for _, c := range hook.Clients() {
		before := len(out)
		for _, scope := range []string{ScopeOrganisation, ScopeUser, ScopeProject} {
			s := ClientState{Client: c.Name, Scope: scope, File: e.settingsFile(c.Name, scope, project)}
			if s.File != "" && e.lookAtClient(ctx, &s, c, project) {
				out = append(out, s)
			}
		}
		if len(out) == before && e.host.program(c.Agent) != "" {
			out = append(out, ClientState{Client: c.Name, Level: carrel.NotEnforced, How: "the client is installed and its hooks are not registered",
				Fix: "carrel init " + c.Name + ", or work at a desk: carrel run -- " + c.Agent})
		}
	}
	return out
}

// lookAtClient fills s in and reports whether Carrel is registered there.
func (e *Records) lookAtClient(ctx context.Context, s *ClientState, c *hook.Client, project string) bool {
	s.Level = carrel.NotEnforced
	text, err := os.ReadFile(s.File)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	var in hook.Installed
	if err == nil {
		in, err = c.ReadInstalled(text)
	}
	if err != nil {
		s.How = "the settings cannot be read: " + err.Error()
		return true
	}
	if len(in.Commands) == 0 {
		return false
	}
	s.Fix = "carrel init " + c.Name + " --scope " + s.Scope
	if c.Name == hook.Codex && in.Off == "" {
		config, _ := os.ReadFile(filepath.Join(e.host.Home, ".codex", "config.toml")) // none trusts nothing
		if in.Off = in.Untrusted(s.File, string(config)); in.Off != "" {
			s.Fix = "codex, and trust the hooks that it shows"
		}
	}
	program, why := e.ownProgram(c, in)
	if s.How = why; why != "" {
		return true
	}
	slowest := time.Duration(0)
	for range 3 {
		took, err := c.Probe(ctx, program, in.Commands[c.BeforeTool()].Args, project)
		if err != nil {
			s.How = "the registered hook was asked: " + err.Error()
			s.Fix = "the hooks are registered as they should be: mend what the answer says, then carrel doctor again"
			return true
		}
		slowest = max(slowest, took)
	}
	s.Level, s.Fix = carrel.Partly, ""
	s.How = fmt.Sprintf("hooks are live and answered within %v; a client can be made to skip them, the walls are carrel run", slowest.Round(time.Millisecond))
	return true
}

// ownProgram returns the program that all hooks start, or why they are not
// this program's.
func (e *Records) ownProgram(client *hook.Client, in hook.Installed) (program, why string) {
	if in.Off != "" {
		return "", in.Off
	}
	for _, name := range client.Registered() {
		c, ok := in.Commands[name]
		if !ok {
			return "", "the hook " + name + " is not registered for every tool"
		}
		if !client.Registers(c, name) {
			return "", fmt.Sprintf("the hook %s starts carrel with other words: %q", name, c.Line+strings.Join(c.Args, " "))
		}
		if program = c.Program; !strings.ContainsAny(program, `/\`) {
			program = e.host.onPath(program)
		}
		registered, err := os.Stat(program)
		if err != nil || program == "" {
			return "", fmt.Sprintf("%s is not there, which a client takes for a yes", c.Program)
		}
		if self, err := os.Stat(e.host.Self); err != nil || !filepath.IsAbs(program) || !os.SameFile(registered, self) {
			return "", fmt.Sprintf("%s is another program than this carrel; it was not started", c.Program)
		}
	}
	return program, ""
}
