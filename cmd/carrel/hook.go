package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/hook"
)

const hookHelp = `Answer one hook of an agent's own client: read what it is about to do from
standard input and print the decision in the client's words. "carrel init"
registers it; nobody types it.

The answer is always valid JSON, and whatever goes wrong is a denial: clients
take a hook that fails for a yes. What is allowed is left to the client's own
rules. A hook is an early, friendly refusal; the walls are those of "carrel
run".`

func (a *app) hookCommand() *cobra.Command {
	var opts engine.HookOptions
	cmd := &cobra.Command{
		Use: "hook CLIENT", Short: "Answer a hook of an agent's own client (" + clientNames() + ")", Long: hookHelp, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return a.deny(fmt.Errorf("one client is named after carrel hook, not %q", args), opts)
			}
			opts.Client, opts.Project = args[0], projectOf(args[0])
			host, err := a.host()
			if err != nil {
				return a.deny(err, opts)
			}
			return a.answer(engine.Hook(cmd.Context(), host, a.stdin, opts))
		},
	}
	// A client reads exit code 2 as no answer where it cannot be stopped so.
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if said := cmd.Flags().Args(); len(said) > 0 {
			opts.Client = said[0]
		}
		return a.deny(err, opts)
	})
	cmd.Flags().StringVar(&opts.Hook, "hook", "", "which hook this is registered for; another one is denied")
	return cmd
}

// projectOf is the project's directory as the client says it to its hooks.
// Codex does not: it starts them there, whatever directory a tool works in.
func projectOf(client string) string {
	switch client {
	case hook.ClaudeCode:
		return os.Getenv("CLAUDE_PROJECT_DIR")
	case hook.GeminiCLI:
		return os.Getenv("GEMINI_PROJECT_DIR")
	}
	return ""
}

// clientNames lists the clients for help.
func clientNames() string {
	var names []string
	for _, c := range hook.Clients() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

func (a *app) answer(reply []byte) error {
	_, err := a.stdout.Write(append(reply, '\n'))
	return err
}

func (a *app) deny(err error, opts engine.HookOptions) error {
	client, known := hook.Get(opts.Client)
	if !known { // nobody knows whose words these are
		opts.Hook = ""
	}
	return a.answer(client.Event(opts.Hook).Reply(hook.Fault(err)))
}
