package main

import (
	"fmt"
	"os"
	"os/user"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/place"
)

// version is set by the build; see Makefile.
var version = ""

// app is what every verb shares: the streams and, once opened, the engine.
type app struct {
	stdin, stdout, stderr *os.File
	json                  bool
	noColor               bool
}

const rootExit = `
Exit codes: 0 ok, 1 error, 2 usage, 3 denied, 4 pending approval, 5 expired or
timed out. "carrel run" passes the agent's own exit code on; 125 is Carrel's
failure, 126 a command that cannot be executed, 127 one that was not found.
`

// root is the command that args are for. Only the verb they name is made, if
// they name one: a run waits for this.
func (a *app) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:           "carrel",
		Short:         "Walled desks for autonomous agents",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       versionText(),
		Args:          noSuchVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetUsageTemplate(root.UsageTemplate() + rootExit)
	root.SetVersionTemplate("{{.Version}}\n")
	_, unwanted := os.LookupEnv("NO_COLOR")
	a.noColor = unwanted || os.Getenv("TERM") == "dumb"
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &engine.UsageError{Err: wrongFlag(cmd, err)} })
	root.PersistentFlags().BoolVar(&a.noColor, "no-color", a.noColor, "never use colours")
	root.CompletionOptions.HiddenDefaultCmd = true
	for _, v := range a.verbsFor(args) {
		root.AddCommand(v.make())
	}
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = func(_ *cobra.Command, args []string) error {
			cmd, left, _ := root.Find(args)
			return noSuchVerb(cmd, left)
		}
	}
	return root
}

// verb makes a command of the first level.
type verb struct {
	name string
	make func() *cobra.Command
}

func (a *app) verbs() []verb {
	return append(a.hostVerbs(), verb{"log", a.logCommand}, verb{"hook", a.hookCommand}, verb{"report", a.reportCommand}, verb{"init", a.initCommand},
		verb{"agent-policy", a.agentPolicyCommand}, verb{"policy", a.policyCommand}, verb{"verify", a.verifyCommand})
}

func (a *app) verbsFor(args []string) []verb {
	verbs := a.verbs()
	if i := slices.IndexFunc(verbs, func(v verb) bool { return len(args) > 0 && v.name == args[0] }); i >= 0 {
		return verbs[i : i+1]
	}
	return verbs
}

// wrongFlag says where the right flags are.
func wrongFlag(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
}

// noSuchVerb refuses what is left where a verb was expected.
func noSuchVerb(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		cmd.SuggestionsMinimumDistance = 2
		hint := "see " + cmd.CommandPath() + " --help"
		near := below(cmd, args[0])
		if len(near) == 0 {
			near = cmd.SuggestionsFor(args[0])
		}
		if args[0] == "version" {
			near = []string{"--version"}
		}
		if len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return &engine.UsageError{Err: fmt.Errorf("%s has no verb %q; %s", cmd.CommandPath(), args[0], hint)}
	}
	return nil
}

// below finds a verb of this name one level further down.
func below(cmd *cobra.Command, name string) (found []string) {
	for _, verb := range cmd.Commands() {
		for _, sub := range verb.Commands() {
			if sub.Name() == name {
				found = append(found, verb.Name()+" "+name)
			}
		}
	}
	return found
}

// atMost turns too many arguments into a usage error.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n && n == 0 {
			return &engine.UsageError{Err: fmt.Errorf("%s takes no argument, got %q; see %[1]s --help", cmd.CommandPath(), args)}
		}
		if len(args) > n {
			return &engine.UsageError{Err: fmt.Errorf("%s takes at most %d argument(s), got %d: %q", cmd.CommandPath(), n, len(args), args)}
		}
		return nil
	}
}

// exactly wants n arguments, and says what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return &engine.UsageError{Err: fmt.Errorf("%s needs %s", cmd.CommandPath(), what)}
		}
		return nil
	}
}

// needFlags refuses a call without one of these flags.
func needFlags(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if !cmd.Flags().Changed(name) {
			return &engine.UsageError{Err: wrongFlag(cmd, fmt.Errorf("%s needs --%s", cmd.CommandPath(), name))}
		}
	}
	return nil
}

func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
}

// jsonLinesFlag is jsonFlag for a verb that lists: what it prints is no one
// document.
func (a *app) jsonLinesFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON, one object a line")
}

func versionText() string {
	v := version
	if v == "" {
		v = "development"
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v += " (" + s.Value[:12] + ")"
			}
		}
	}
	return fmt.Sprintf("carrel %s %s/%s", v, runtime.GOOS, runtime.GOARCH)
}

// host gathers what the engine may know of the machine and the user.
func (a *app) host() (engine.Host, error) {
	home := os.Getenv("HOME")
	if home == "" {
		if u, err := user.Current(); err == nil {
			home = u.HomeDir
		}
	}
	paths, err := place.Default(home, os.Getenv)
	if err != nil {
		return engine.Host{}, err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return engine.Host{}, fmt.Errorf("finding the current directory: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return engine.Host{}, fmt.Errorf("finding this program: %w", err)
	}
	return engine.Host{
		Version: versionText(), Self: self, Cwd: cwd, Home: home,
		UID: os.Getuid(), User: userName(), Environ: os.Environ(),
		Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr, Paths: paths,
	}, nil
}

// onHost is the body of a verb that needs no desk and no state opened for it.
func (a *app) onHost(act func(engine.Host) error) error {
	host, err := a.host()
	if err != nil {
		return err
	}
	return act(host)
}

// onRecords runs act on the user's log.
func (a *app) onRecords(act func(*engine.Records) error) error {
	return a.onHost(func(host engine.Host) error { return act(engine.OpenRecords(host)) })
}

// userName names the operating system's user for records; the number alone
// counts where there is no name.
func userName() string {
	uid := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		return u.Uid + ":" + u.Username
	}
	return uid
}

// first is the only argument; "" without one.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
