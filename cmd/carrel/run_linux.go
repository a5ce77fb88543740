package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/cmd/carrel/ahead"
	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

const rootHelp = `A carrel is a desk with walls, lent to an agent for one piece of work.

The agent sees its workspace and nothing else of the machine. It changes a
staged copy and reaches only what policy allows. What it made comes out as a
change that you review, approve and apply, and every step is in a log that
anybody can check.

    carrel run -- claude            work at a desk
    carrel review                   what it changed, and the risks
    carrel approve --reason "…"     say yes to exactly that change
    carrel apply [--branch NAME]    put it into the tree, or on a new branch
    carrel log verify               check the log
    carrel evidence latest -o DIR   what others need to check it, with carrel verify`

// inside reports whether this process is the first of a desk, and if so runs
// it. The binary is started again under that name where the small carrel-init
// was not built in.
func inside() bool {
	if filepath.Base(os.Args[0]) != "carrel-init" {
		// Whoever started us may have left descriptors open. None of them may
		// reach a desk.
		_ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
		return false
	}
	desk.Main()
	return true
}

func (a *app) hostVerbs() []verb {
	return []verb{
		{"run", a.runCommand}, {"runs", a.runsCommand}, {"show", a.showCommand}, {"review", a.reviewCommand},
		{"pending", a.pendingCommand}, {"approve", a.approveCommand}, {"deny", a.denyCommand}, {"apply", a.applyCommand},
		{"discard", a.discardCommand}, {"identity", a.identityCommand}, {"attest", a.attestCommand}, {"evidence", a.evidenceCommand},
		{"why", a.whyCommand}, {"trust", a.trustCommand}, {"doctor", a.doctorCommand}, {"selftest", a.selfTestCommand},
		{attackVerb, a.attackCommand}, {"demo", a.demoCommand},
	}
}

// onEngine runs act with an open engine. What act handed to the log and is not
// durable in the end is an error of the command.
func (a *app) onEngine(cmd *cobra.Command, act func(e *engine.Engine) error) error {
	return a.onHost(func(host engine.Host) error {
		e, err := engine.Open(cmd.Context(), host)
		if err != nil {
			return err
		}
		return errors.Join(act(e), e.Close())
	})
}

const runHelp = `Run a command as an agent at a walled desk.

The command sees the current repository (or directory) as a staged copy, at
/workspace and at its own path, and nothing else of your files. It reaches only
the destinations that are allowed. When it ends, what it changed is kept as a
change for you to review; the next run of the same agent here goes on with it.

    carrel run -- claude
    carrel run -- claude -p "write tests for parser.go"
    carrel run --allow api.example.com -- npm test
    carrel run --limit memory=4G,wall=30m --result result.json -- ./agent.sh`

func (a *app) runCommand() *cobra.Command {
	var opts engine.RunOptions
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG…]",
		Short: "Run an agent at a walled desk",
		Long:  runHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &exitStatus{exitCarrel, errors.New("no command: write what to run after --, as in: carrel run -- claude")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Command, opts.Ahead = args, ahead.Tier
			opts.JSON = a.json
			opts.NoColor = a.noColor
			opts.CacheSet = cmd.Flags().Changed("cache")
			return a.run(cmd, opts)
		},
	}
	// 2 could be the agent's own code, so that a wrong flag is Carrel's failure.
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitStatus{exitCarrel, wrongFlag(cmd, err)}
	})
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&opts.Workspace, "workspace", "", "directory to work in (default: the repository of the current directory, or the directory)")
	f.StringSliceVar(&opts.Profiles, "profile", nil, "profile of a known agent, or what a package manager needs, or both: "+engine.ProfileNames())
	f.BoolVar(&opts.YesProfile, "yes-profile", false, "use the profile that fits the command without asking")
	f.StringArrayVar(&opts.Env, "env", nil, "pass a variable: NAME (its value here) or NAME=VALUE; repeatable")
	f.StringArrayVar(&opts.RO, "ro", nil, "make a host file or directory visible, read-only; repeatable")
	f.StringArrayVar(&opts.Hide, "hide", nil, "make a file or directory of the workspace empty inside; repeatable")
	f.StringArrayVar(&opts.Allow, "allow", nil, "let the agent reach HOST[:PORT] in this run; repeatable")
	f.StringArrayVar(&opts.Services, "host-service", nil, "NAME=HOST:PORT: inside, NAME.desk:PORT reaches that address; repeatable")
	f.StringArrayVar(&opts.Expose, "expose", nil, "[HOSTPORT:]PORT: show a server inside on the host's loopback while the run lasts; repeatable")
	f.StringArrayVar(&opts.Credentials, "credential", nil, "lend a credential of your configuration that is lent only by name; repeatable")
	f.StringVar(&opts.Limit, "limit", "", "limits of this run, as in memory=4G,pids=512,wall=30m,disk=2G,upload=1G; disk is what it adds to what the desk holds")
	f.BoolVar(&opts.LimitBestEffort, "limit-best-effort", false, "go on where a limit cannot be enforced on this machine")
	f.StringVar(&opts.Home, "home", "", "keep or discard the desk's home (default: keep for known agents)")
	f.StringSliceVar(&opts.Cache, "cache", nil, "host caches to offer read-only below a private layer: go,npm,pip,cargo or none (default: what the workspace uses)")
	f.BoolVar(&opts.Learn, "learn", false, "propose, at the end, the narrowest rules for what was refused (as carrel policy learn does)")
	f.BoolVar(&opts.Fresh, "fresh", false, "start at a new desk instead of going on with unapplied work")
	f.BoolVar(&opts.DryRun, "dry-run", false, "print what the agent would see and reach, and run nothing")
	f.StringVar(&opts.Result, "result", "", "write a JSON summary of the run to this file")
	f.StringArrayVar(&opts.Policy, "policy", nil, "further Rego policy, a file or directory; it can only narrow; repeatable")
	f.StringVar(&opts.Staging, "staging", "", "overlay, or copy where overlay cannot be had (default: overlay, or copy if it must be)")
	f.StringVar(&opts.Commands, "commands", "", "the programs that run inside: off, record or decide (default: decide where a policy of yours speaks of exec, else record)")
	f.StringVar(&opts.Apply, "apply", "", "auto: apply what policy allows without asking")
	lengthFlag(f, &opts.AskTimeout, "ask-timeout", 2*time.Minute, "how long an action that policy asks about waits for a person; then it is denied")
	f.StringVar(&opts.Tier, "tier", "", "the kind of walls (default and only: native)")
	f.BoolVar(&a.json, "json", false, "with --dry-run: print JSON")
	return cmd
}

func (a *app) run(cmd *cobra.Command, opts engine.RunOptions) error {
	code := exitOK
	err := a.onEngine(cmd, func(e *engine.Engine) (err error) {
		code, err = e.Run(cmd.Context(), opts)
		return err
	})
	if err != nil && code == exitOK {
		code = exitCarrel
	}
	if err == nil && code == exitOK {
		return nil
	}
	return &exitStatus{code, err}
}

func (a *app) doctorCommand() *cobra.Command {
	var fix bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can enforce, by trying it",
		Long:  "Say what this machine can enforce, by trying it: for each wall enforced, partly\nor not, how, and what would mend it. Registered hooks are started, and the\nconfiguration is read, with the policy it names. Exit code 1: no desk can be\nbuilt here, the configuration cannot be read, or no state can be kept.",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := a.host()
			if err != nil {
				return err
			}
			ok, err := engine.Doctor(cmd.Context(), host, engine.DoctorOptions{Fix: fix, JSON: a.json, NoColor: a.noColor})
			if err == nil && !ok {
				return &exitStatus{code: exitError}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "print what would mend this machine (such as an AppArmor profile for this binary)")
	a.jsonFlag(cmd)
	return cmd
}
