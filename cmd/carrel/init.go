package main

import (
	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/hook"
)

const initHelp = `Register Carrel with an agent's own client: its hooks, and for an organisation
managed settings that nobody below can switch off.

    carrel init claude-code                              this project
    carrel init gemini-cli --scope user                  every project of yours
    sudo carrel init claude-code --scope organisation --policy-helper

What is there already is kept; --remove takes only Carrel's part out again.
With --policy-helper the client asks Carrel at every start and does not start
if there is no answer. Hooks are early, friendly refusals: the walls are those
of "carrel run".`

func (a *app) initCommand() *cobra.Command {
	var opts engine.InitOptions
	cmd := &cobra.Command{
		Use: "init CLIENT", Short: "Register hooks and settings with an agent's own client (" + clientNames() + ")", Long: initHelp, Args: exactly(1, "the client, as in: carrel init "+hook.ClaudeCode),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Client, opts.JSON = args[0], a.json
			return a.onHost(func(host engine.Host) error { return engine.Init(cmd.Context(), host, opts) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.Scope, "scope", engine.ScopeProject, "project, user or organisation")
	f.StringVar(&opts.Project, "project", "", "the project's directory (default: the repository of the current directory)")
	f.StringVar(&opts.Servers, "mcp", "", "install this list of MCP servers, too; for an organisation it is the only one")
	f.BoolVar(&opts.Helper, "policy-helper", false, "organisation: the client starts only if carrel answers")
	f.BoolVar(&opts.Remove, "remove", false, "take Carrel's part out again")
	f.BoolVar(&opts.DryRun, "dry-run", false, "print what would be written")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) agentPolicyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "agent-policy CLIENT", Short: "Print managed settings for a client that asks at its start", Args: exactly(1, "the client"),
		Long: "Print the managed settings of a client, if Carrel's policy can be read and its\nlog can be written; else fail, so that the client does not start. \"carrel init\n--policy-helper\" registers it; nobody types it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onHost(func(host engine.Host) error { return engine.AgentPolicy(cmd.Context(), host, args[0]) })
		},
	}
}
