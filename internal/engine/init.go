package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// The scopes of a client's settings.
const (
	ScopeProject      = "project"
	ScopeUser         = "user"
	ScopeOrganisation = "organisation"
)

// InitOptions are the flags of init.
type InitOptions struct {
	Client  string
	Scope   string
	Project string // the project's directory; "": around the current one
	Servers string // a file with MCP servers to install; "": none
	Helper  bool   // organisation: the client asks carrel at every start
	Remove  bool
	DryRun  bool
	JSON    bool
}

// clientFile is one file that init writes or takes away.
type clientFile struct {
	Path    string      `json:"path"`
	What    string      `json:"what"`
	Mode    fs.FileMode `json:"-"`
	content []byte      // nil: taken away
}

// managedDir is where an organisation's settings of Claude Code lie.
func managedDir() string {
	switch runtime.GOOS {
	case "darwin":
		return "/Library/Application Support/ClaudeCode"
	case "windows":
		return `C:\Program Files\ClaudeCode`
	}
	return "/etc/claude-code"
}

// settingsFile is where the settings of a scope lie.
func (e *Records) settingsFile(scope, project string) string {
	switch scope {
	case ScopeProject:
		return filepath.Join(project, ".claude", "settings.json")
	case ScopeUser:
		return filepath.Join(e.host.Home, ".claude", "settings.json")
	}
	return filepath.Join(managedDir(), "managed-settings.d", "50-carrel.json")
}

// Init registers Carrel with a client, or takes it out again.
func Init(ctx context.Context, host Host, opts InitOptions) error {
	e := &Records{host}
	if opts.Client != hook.ClaudeCode {
		return &hintError{misused("there is nothing to set up for %q", opts.Client), "known is " + hook.ClaudeCode}
	}
	if opts.Project == "" {
		opts.Project = projectAround(host.Cwd)
	}
	files, err := e.clientFiles(opts)
	if err != nil {
		return err
	}
	if !opts.DryRun {
		if err := e.setUp(ctx, files, opts); err != nil {
			return err
		}
	}
	if opts.JSON {
		return e.printJSON(files)
	}
	return e.tellInit(files, opts)
}

// setUp writes the files, as an action that is bound to every byte of them.
func (e *Records) setUp(ctx context.Context, files []clientFile, opts InitOptions) error {
	var all bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&all, "%q %v %q\n", f.Path, f.Mode, f.content)
	}
	a := carrel.Action{Operation: carrel.OpPolicy, Subject: "client:" + opts.Client + ":" + opts.Scope, SubjectDigest: carrel.DigestBytes(all.Bytes()), Reason: "registered"}
	if opts.Remove {
		a.Reason = "taken out again"
	}
	err := e.operate(ctx, a, func(context.Context, *audit.Log) (carrel.Outcome, error) {
		facts := map[string]carrel.Text{}
		for _, f := range files {
			if err := f.write(); err != nil {
				return carrel.Outcome{Facts: facts}, err
			}
			facts[f.What] = carrel.Text(f.Path)
		}
		return carrel.Outcome{Facts: facts}, nil
	})
	if errors.Is(err, fs.ErrPermission) && opts.Scope == ScopeOrganisation {
		return &hintError{err, "managed settings belong to root: run it with sudo, or copy what --dry-run prints"}
	}
	return err
}

func (e *Records) clientFiles(opts InitOptions) ([]clientFile, error) {
	program := e.host.Self
	if opts.Scope == ScopeProject {
		program = "carrel" // the file travels with the repository
	}
	var files []clientFile
	var err error
	switch opts.Scope {
	case ScopeProject, ScopeUser:
		files, err = e.mergedSettings(e.settingsFile(opts.Scope, opts.Project), program, opts.Remove)
	case ScopeOrganisation:
		files, err = e.managedFiles(program, opts)
	default:
		return nil, misused("--scope %q: use %s, %s or %s", opts.Scope, ScopeProject, ScopeUser, ScopeOrganisation)
	}
	if err != nil || opts.Servers == "" {
		return files, err
	}
	servers, err := serversFile(opts)
	return append(files, servers), err
}

func (e *Records) mergedSettings(path, program string, remove bool) ([]clientFile, error) {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the client's settings: %w", err)
	}
	if remove {
		program = ""
	}
	merged, err := hook.Merge(old, program)
	if err != nil {
		return nil, &hintError{fmt.Errorf("%s: %w", path, err), "mend the file first; it was left as it is"}
	}
	f := clientFile{Path: path, What: "settings with Carrel's hooks", Mode: 0o644, content: merged}
	if remove {
		f.What = "settings without Carrel's hooks"
		if bytes.Equal(bytes.TrimSpace(merged), []byte("{}")) {
			f.content = nil
		}
	}
	return []clientFile{f}, nil
}

func (e *Records) managedFiles(program string, opts InitOptions) ([]clientFile, error) {
	settings := clientFile{Path: e.settingsFile(ScopeOrganisation, ""), What: "managed settings", Mode: 0o644}
	helper := clientFile{Path: filepath.Join(managedDir(), "carrel-policy-helper"), What: "policy helper: without its answer the client does not start", Mode: 0o755}
	script := "#!/bin/sh\nexec " + shellWord(program) + " agent-policy " + hook.ClaudeCode + "\n"
	if runtime.GOOS == "windows" {
		helper.Path += ".cmd"
		script = "@\"" + program + "\" agent-policy " + hook.ClaudeCode + "\r\n"
	}
	if opts.Remove {
		return []clientFile{settings, helper}, nil
	}
	named := ""
	if opts.Helper {
		named = helper.Path
	}
	var err error
	if settings.content, err = hook.ManagedFile(program, named); err != nil || !opts.Helper {
		return []clientFile{settings}, err
	}
	helper.content = []byte(script)
	return []clientFile{helper, settings}, nil // never a settings file that names no helper
}

// shellWord is s as one word of a POSIX shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// serversFile is the list of MCP servers of a scope.
func serversFile(opts InitOptions) (clientFile, error) {
	f := clientFile{Path: filepath.Join(opts.Project, ".mcp.json"), What: "MCP servers of the project", Mode: 0o644}
	switch opts.Scope {
	case ScopeOrganisation:
		f.Path, f.What = filepath.Join(managedDir(), "managed-mcp.json"), "the only MCP servers there are"
	case ScopeUser:
		return f, &hintError{errors.New("the client keeps a user's MCP servers in a file of its own making"), "use --scope project or --scope organisation with --mcp"}
	}
	if opts.Remove {
		return f, nil
	}
	text, err := os.ReadFile(opts.Servers)
	if err == nil {
		err = hook.CheckServers(text)
	}
	if err != nil {
		return f, fmt.Errorf("--mcp %s: %w", opts.Servers, err)
	}
	f.content = text
	return f, nil
}

// write replaces the file, or takes it away.
func (f clientFile) write() error {
	if f.content == nil {
		if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("taking %s away: %w", f.What, err)
		}
		return nil
	}
	err := os.MkdirAll(filepath.Dir(f.Path), 0o755)
	if err == nil {
		err = putFile(f.Path, f.content, f.Mode)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", f.What, err)
	}
	return nil
}

func (e *Records) tellInit(files []clientFile, opts InitOptions) error {
	for _, f := range files {
		verb := "wrote"
		switch {
		case opts.DryRun && f.content == nil:
			verb = "would remove"
		case opts.DryRun:
			verb = "would write"
		case f.content == nil:
			verb = "removed"
		}
		fmt.Fprintf(e.host.Stdout, "%s %s (%s)\n", verb, terminal.Escape(f.Path), f.What)
		if opts.DryRun && f.content != nil {
			if _, err := e.host.Stdout.Write([]byte(terminal.EscapeText(string(f.content)))); err != nil {
				return err
			}
		}
	}
	if !opts.DryRun && !opts.Remove {
		fmt.Fprintln(e.host.Stdout, "next: carrel doctor says whether the hooks are live. Hooks are friendly refusals; the walls are carrel run")
	}
	return nil
}
