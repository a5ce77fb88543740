package hook

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel"
)

// Call is what a client is about to do, or has done.
type Call struct {
	Tool  string
	Input json.RawMessage
	Cwd   string
}

// toolInput are the members of tools' inputs that say what would happen.
type toolInput struct {
	Command      *string  `json:"command"`
	FilePath     *string  `json:"file_path"`
	NotebookPath *string  `json:"notebook_path"`
	Path         *string  `json:"path"`
	DirPath      *string  `json:"dir_path"`
	Include      []string `json:"include"`
	Prompt       *string  `json:"prompt"`
	Input        *string  `json:"input"`
	Pattern      *string  `json:"pattern"`
	URL          *string  `json:"url"`
	Content      *string  `json:"content"`
	NewString    *string  `json:"new_string"`
	NewSource    *string  `json:"new_source"`
	Edits        []struct {
		NewString string `json:"new_string"`
	} `json:"edits"`
}

// Actions says what a call would do. A call that cannot be read is an error,
// and so a denial.
func (p Place) Actions(c Call) ([]carrel.Action, error) {
	if c.Tool == "" {
		return nil, missing("the call", "tool_name")
	}
	actions, ok := p.Client.tools[c.Tool]
	if !ok {
		return []carrel.Action{p.action(carrel.Action{Operation: carrel.OpTool, Subject: c.Tool})}, nil
	}
	var in toolInput
	if len(c.Input) > 0 {
		if err := decode(c.Input, &in); err != nil {
			return nil, fmt.Errorf("the input of %s cannot be read: %w", c.Tool, err)
		}
	}
	return actions(p, c, in)
}

// powerShell has one action for the whole line: its commands are not read.
func (p Place) powerShell(c Call, in toolInput) ([]carrel.Action, error) {
	if in.Command == nil {
		return nil, missing(c.Tool, "command")
	}
	return []carrel.Action{p.action(carrel.Action{Operation: carrel.OpExec, Argv: Recordable([]string{"powershell", "-Command", *in.Command}),
		Cwd: carrel.Text(c.Cwd), Reason: "its commands are not read"})}, nil
}

func missing(what, member string) error { return fmt.Errorf("%s has no %s", what, member) }

func (p Place) action(a carrel.Action) carrel.Action {
	a.Agent = p.Client.Agent
	return a
}

// commandLine has one action for each program, and one for each file that the
// line names.
func (p Place) commandLine(c Call, in toolInput) ([]carrel.Action, error) {
	if in.Command == nil {
		return nil, missing(c.Tool, "command")
	}
	if in.DirPath != nil && *in.DirPath != "" {
		c.Cwd = absolute(*in.DirPath, c.Cwd)
	}
	commands, err := parseLine(*in.Command)
	if err != nil {
		return nil, fmt.Errorf("the command cannot be read as bash would read it: %w", err)
	}
	var out []carrel.Action
	for _, cmd := range commands {
		if cmd.argv[0] != ":" {
			a := carrel.Action{Operation: carrel.OpExec, Argv: Recordable(cmd.argv), Cwd: carrel.Text(c.Cwd), Reason: carrel.Text(cmd.unclear)}
			if cmd.unclear == "" && p.Program != nil {
				a.Path = slashed(p.Program(cmd.argv[0]))
			}
			out = append(out, p.action(a))
		}
		for _, f := range cmd.files {
			if a, ok := p.file(f, c.Cwd); ok {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

func (p Place) file(f fileUse, cwd string) (carrel.Action, bool) {
	dir := cwd
	switch {
	case strings.HasPrefix(f.dir, "~/") && p.Home != "":
		dir = filepath.Join(p.Home, f.dir[2:])
	case f.dir == "~":
		dir = p.Home
	case f.dir != "":
		dir = absolute(f.dir, cwd)
	}
	a := carrel.Action{Operation: carrel.OpRead, Path: p.path(f.path, dir), RawPath: carrel.Text(f.path)}
	switch f.how {
	case reads:
		if p.open(a.Path) || a.Path == carrel.DeskWorkspace {
			return a, false
		}
	case writes:
		if a.Path == carrel.DeskWorkspace || p.own(a.Path) { // into the directory: which file, only the program knows
			return a, false
		}
		a.Operation, a.File = carrel.OpWrite, p.fileChange(a.Path, f.path, dir, nil)
	case deletes:
		a.Operation = carrel.OpDelete
		a.File = &carrel.FileChange{Path: a.RawPath, Change: carrel.Deleted, FileState: carrel.FileState{Kind: carrel.FileNone}, Before: carrel.FileState{Kind: carrel.FileRegular}}
	}
	return p.action(a), true
}

// change is a tool that writes one file.
func (p Place) change(c Call, in toolInput) ([]carrel.Action, error) {
	path := in.FilePath
	if path == nil || *path == "" {
		return nil, missing(c.Tool, "file_path")
	}
	a := carrel.Action{Operation: carrel.OpWrite, Path: p.path(*path, c.Cwd), RawPath: carrel.Text(*path)}
	if p.own(a.Path) {
		return []carrel.Action{p.action(carrel.Action{Operation: carrel.OpTool, Subject: c.Tool})}, nil
	}
	a.File = p.fileChange(a.Path, *path, c.Cwd, in.content())
	return []carrel.Action{p.action(a)}, nil
}

// changeNotebook is change where the file is a notebook's.
func (p Place) changeNotebook(c Call, in toolInput) ([]carrel.Action, error) {
	if in.NotebookPath != nil {
		in.FilePath = in.NotebookPath
	}
	return p.change(c, in)
}

// content is what the tool would put there: all of it, or the part it changes.
func (in toolInput) content() []byte {
	for _, s := range []*string{in.Content, in.NewString, in.NewSource} {
		if s != nil {
			return []byte(*s)
		}
	}
	var all []byte
	for _, e := range in.Edits {
		all = append(append(all, e.NewString...), '\n')
	}
	return all
}

func (p Place) fileChange(path, raw, dir string, content []byte) *carrel.FileChange {
	raw = absolute(raw, dir)
	rel := strings.TrimPrefix(path, carrel.DeskWorkspace+"/")
	f := &carrel.FileChange{Path: carrel.Text(rel), Change: carrel.Created, FileState: carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: int64(len(content))},
		Before: carrel.FileState{Kind: carrel.FileNone}}
	if content != nil {
		f.Digest = carrel.DigestBytes(content)
	}
	if info, err := os.Lstat(raw); err == nil {
		f.Change, f.Mode = carrel.Modified, uint32(info.Mode().Perm())
		f.Before = carrel.FileState{Kind: carrel.FileRegular, Mode: f.Mode, Size: info.Size()}
	}
	if p.Labels != nil {
		f.Labels = p.Labels(rel, content)
	}
	return f
}

// look is a tool that reads a file.
func (p Place) look(c Call, in toolInput) ([]carrel.Action, error) {
	path := in.FilePath
	if path == nil {
		path = in.NotebookPath
	}
	if path == nil || *path == "" {
		return nil, missing(c.Tool, "file_path")
	}
	return []carrel.Action{p.read(c, *path)}, nil
}

// lookAtMany is look for files, and for the directories below which patterns
// would find some.
func (p Place) lookAtMany(c Call, in toolInput) ([]carrel.Action, error) {
	if len(in.Include) == 0 {
		return nil, missing(c.Tool, "include")
	}
	var out []carrel.Action
	for _, pattern := range in.Include {
		out = append(out, p.read(c, beforePattern(pattern)))
	}
	return out, nil
}

// searchText is a tool that looks below a directory.
func (p Place) searchText(c Call, in toolInput) ([]carrel.Action, error) {
	path := ""
	switch {
	case in.Path != nil:
		path = *in.Path
	case in.DirPath != nil:
		path = *in.DirPath
	}
	return []carrel.Action{p.read(c, path)}, nil
}

// search is searchText for names: the pattern can lead elsewhere, too.
func (p Place) search(c Call, in toolInput) ([]carrel.Action, error) {
	out, err := p.searchText(c, in)
	if pattern := in.Pattern; pattern != nil && (anchored(*pattern) || strings.Contains(*pattern, "..")) {
		out[0] = p.read(c, beforePattern(*pattern))
	} else if pattern != nil && alternativeAway().MatchString(*pattern) {
		out[0] = p.read(c, "/")
	}
	return out, err
}

// alternativeAway is a pattern of which one alternative begins elsewhere.
var alternativeAway = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[{,(|]\s*[/~]`) })

func beforePattern(pattern string) string {
	if i := strings.IndexAny(pattern, "*?[{"); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

// read is looking at a file or a directory. Where nobody has to be asked, it
// is the use of a tool.
func (p Place) read(c Call, path string) carrel.Action {
	a := carrel.Action{Operation: carrel.OpRead, Path: p.path(path, c.Cwd), RawPath: carrel.Text(path)}
	if a.Path == carrel.DeskWorkspace || p.open(a.Path) {
		a = carrel.Action{Operation: carrel.OpTool, Subject: c.Tool}
	}
	return p.action(a)
}

// fetch is a page that the client gets: the destination, and the request.
func (p Place) fetch(c Call, in toolInput) ([]carrel.Action, error) {
	if in.URL == nil {
		return nil, missing(c.Tool, "url")
	}
	return p.get(*in.URL)
}

// fetchNamed is fetch of what a prompt names. One that names nothing is no
// call that the client would make.
func (p Place) fetchNamed(c Call, in toolInput) ([]carrel.Action, error) {
	if in.URL != nil {
		return p.get(*in.URL)
	}
	if in.Prompt == nil {
		return nil, missing(c.Tool, "prompt")
	}
	var out []carrel.Action
	for _, word := range strings.Fields(*in.Prompt) {
		if !strings.Contains(word, "://") {
			continue
		}
		actions, err := p.get(strings.Trim(word, "\"'`()<>[],;"))
		if err != nil {
			return nil, err
		}
		out = append(out, actions...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the prompt of %s names no address", c.Tool)
	}
	return out, nil
}

func (p Place) get(raw string) ([]carrel.Action, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no plain http or https URL", raw)
	}
	to := carrel.Action{Operation: carrel.OpConnect, Host: strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), Port: 443, Protocol: carrel.ProtoTLS}
	if u.Scheme == "http" { // which the client turns into https
		to.Port = 443
	}
	if u.Port() != "" {
		if to.Port, err = strconv.Atoi(u.Port()); err != nil {
			return nil, fmt.Errorf("%q has no port that can be reached", raw)
		}
	}
	get := to
	get.Operation, get.Method, get.URL = carrel.OpRequest, "GET", carrel.Text(u.RequestURI())
	return []carrel.Action{p.action(to), p.action(get)}, nil
}
