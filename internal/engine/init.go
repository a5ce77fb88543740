package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"

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

// settingsFile is where the settings of a scope lie; "" if the client has none
// that Carrel writes.
func (e *Records) settingsFile(client, scope, project string) string {
	in := clientFolders[client]
	switch scope {
	case ScopeProject:
		return filepath.Join(project, in.folder, in.file)
	case ScopeUser:
		return filepath.Join(e.host.Home, in.folder, in.file)
	}
	if in.managed == nil {
		return ""
	}
	return filepath.Join(managedDir(client), filepath.Join(in.managed...))
}

// Init registers Carrel with a client, or takes it out again.
func Init(ctx context.Context, host Host, opts InitOptions) error {
	e := &Records{host}
	client, known := hook.Get(opts.Client)
	if !known {
		return &hintError{misused("there is nothing to set up for %q", opts.Client), "known are " + clientNames()}
	}
	if opts.Project == "" {
		opts.Project = projectAround(host.Cwd)
	}
	files, err := e.clientFiles(client, opts)
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

func (e *Records) clientFiles(client *hook.Client, opts InitOptions) ([]clientFile, error) {
	program := e.host.Self
	if opts.Scope == ScopeProject {
		program = "carrel" // the file travels with the repository
	}
	if client.Name != hook.ClaudeCode && (opts.Helper || opts.Servers != "") {
		return nil, misused("--policy-helper and --mcp are for %s", hook.ClaudeCode)
	}
	if client.Name != hook.ClaudeCode && !opts.Remove && runtime.GOOS == "windows" {
		return nil, misused("the hooks of %s are lines for a POSIX shell, which it does not start on Windows", client.Title)
	}
	path := e.settingsFile(client.Name, opts.Scope, opts.Project)
	var files []clientFile
	var err error
	switch {
	case !slices.Contains([]string{ScopeProject, ScopeUser, ScopeOrganisation}, opts.Scope):
		return nil, misused("--scope %q: use %s, %s or %s", opts.Scope, ScopeProject, ScopeUser, ScopeOrganisation)
	case path == "":
		return nil, &hintError{misused("%s has no settings of an organisation that Carrel writes", client.Title), "use --scope user or --scope project"}
	case opts.Scope == ScopeOrganisation && client.Name == hook.ClaudeCode:
		files, err = e.managedFiles(program, opts)
	case opts.Scope == ScopeOrganisation:
		files, err = e.mergedSettings(client.MergeManaged, path, program, opts.Remove)
	default:
		files, err = e.mergedSettings(client.Merge, path, program, opts.Remove)
	}
	if err != nil || opts.Servers == "" {
		return files, err
	}
	servers, err := serversFile(opts)
	return append(files, servers), err
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
