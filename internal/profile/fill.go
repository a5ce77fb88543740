package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxSettings bounds a settings file of the host that is read. Agents keep
// histories in theirs.
const maxSettings = 32 << 20

// FillHome writes the files a desk's home begins with and returns the paths
// written, directories too. What is there already stays: the home belongs to
// the agent, which may have put anything there, so nothing is followed out of
// it.
func (p Profile) FillHome(hostHome, deskHome, workspace string) (written []string, err error) {
	root, err := os.OpenRoot(deskHome)
	if err != nil {
		return nil, fmt.Errorf("opening the desk's home: %w", err)
	}
	defer root.Close()
	for _, f := range p.Home.Fill {
		if _, err := root.Lstat(f.Path); err == nil {
			continue
		}
		content, err := f.content(hostHome, workspace)
		if err != nil {
			return written, fmt.Errorf("filling %s: %w", f.Path, err)
		}
		names, err := create(root, f.Path, content)
		for _, n := range names {
			written = append(written, filepath.Join(deskHome, n))
		}
		if err != nil {
			return written, fmt.Errorf("filling %s: %w", f.Path, err)
		}
	}
	return written, nil
}

// create makes a file and the directories it lies in, and says which of them
// it made. A place where the agent put something else is left alone.
func create(root *os.Root, name string, content []byte) (made []string, err error) {
	for i, c := range name {
		if c != '/' {
			continue
		}
		switch err := root.Mkdir(name[:i], 0o700); {
		case err == nil:
			made = append(made, name[:i])
		case !errors.Is(err, fs.ErrExist):
			return made, nil // not a directory, or a link out of the home
		}
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return made, nil
	}
	made = append(made, name)
	_, err = file.Write(content)
	return made, errors.Join(err, file.Close())
}

func (f Fill) content(hostHome, workspace string) ([]byte, error) {
	if f.Text != "" {
		return []byte(strings.ReplaceAll(f.Text, "{workspace}", quotable(workspace))), nil
	}
	out := map[string]any{}
	if len(f.Keep) > 0 && hostHome != "" {
		host := readObject(filepath.Join(hostHome, filepath.FromSlash(f.Path)))
		for _, member := range f.Keep {
			copyMember(out, host, strings.Split(member, "."))
		}
	}
	for name, value := range f.Set {
		setMember(out, strings.Split(name, "."), workspace, value)
	}
	return json.MarshalIndent(out, "", "  ")
}

// readObject reads a JSON object. Settings that cannot be read are no reason
// to refuse a run: the agent then begins with its own defaults.
func readObject(path string) map[string]any {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	if fi, err := file.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil
	}
	var out map[string]any
	if json.NewDecoder(io.LimitReader(file, maxSettings)).Decode(&out) != nil {
		return nil
	}
	return out
}

func copyMember(to, from map[string]any, name []string) {
	value, ok := from[name[0]]
	if !ok {
		return
	}
	if len(name) == 1 {
		to[name[0]] = value
		return
	}
	if inner, ok := value.(map[string]any); ok {
		target, _ := to[name[0]].(map[string]any)
		if target == nil {
			target = map[string]any{}
		}
		copyMember(target, inner, name[1:])
		if len(target) > 0 {
			to[name[0]] = target
		}
	}
}

func setMember(to map[string]any, name []string, workspace string, value any) {
	key := name[0]
	if key == "{workspace}" {
		key = path.Clean(workspace)
	}
	if len(name) == 1 {
		to[key] = value
		return
	}
	inner, _ := to[key].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		to[key] = inner
	}
	setMember(inner, name[1:], workspace, value)
}

// quotable returns a path that can stand between double quotes in any settings
// file, or "" for one that cannot: the agent then asks what it would have been
// told.
func quotable(p string) string {
	if strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == 0x7f }) {
		return ""
	}
	return path.Clean(p)
}
