package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/carrel-dev/carrel/internal/hook"
)

// clientFile is one file that init writes or takes away.
type clientFile struct {
	Path    string      `json:"path"`
	What    string      `json:"what"`
	Mode    fs.FileMode `json:"-"`
	content []byte      // nil: taken away
}

// clientFolders say where clients keep their settings.
var clientFolders = map[string]struct {
	folder, file string    // below the project and the home
	managed      []string  // below the organisation's directory
	dirs         [3]string // that directory on Linux, macOS and Windows
}{
	hook.ClaudeCode: {".claude", "settings.json", []string{"managed-settings.d", "50-carrel.json"},
		[3]string{"/etc/claude-code", "/Library/Application Support/ClaudeCode", `C:\Program Files\ClaudeCode`}},
	hook.GeminiCLI: {".gemini", "settings.json", []string{"settings.json"},
		[3]string{"/etc/gemini-cli", "/Library/Application Support/GeminiCli", `C:\ProgramData\gemini-cli`}},
	hook.Codex: {folder: ".codex", file: "hooks.json"},
}

// managedDir is where an organisation's settings of a client lie.
func managedDir(client string) string {
	dirs := clientFolders[client].dirs
	switch runtime.GOOS {
	case "darwin":
		return dirs[1]
	case "windows":
		return dirs[2]
	}
	return dirs[0]
}

func (e *Records) mergedSettings(merge func(settings []byte, program string) ([]byte, error), path, program string, remove bool) ([]clientFile, error) {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the client's settings: %w", err)
	}
	if remove {
		program = ""
	}
	merged, err := merge(old, program)
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
	settings := clientFile{Path: e.settingsFile(hook.ClaudeCode, ScopeOrganisation, ""), What: "managed settings", Mode: 0o644}
	helper := clientFile{Path: filepath.Join(managedDir(hook.ClaudeCode), "carrel-policy-helper"), What: "policy helper: without its answer the client does not start", Mode: 0o755}
	script := "#!/bin/sh\nexec " + hook.ShellWord(program) + " agent-policy " + hook.ClaudeCode + "\n"
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

// serversFile is the list of MCP servers of a scope.
func serversFile(opts InitOptions) (clientFile, error) {
	f := clientFile{Path: filepath.Join(opts.Project, ".mcp.json"), What: "MCP servers of the project", Mode: 0o644}
	switch opts.Scope {
	case ScopeOrganisation:
		f.Path, f.What = filepath.Join(managedDir(hook.ClaudeCode), "managed-mcp.json"), "the only MCP servers there are"
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
