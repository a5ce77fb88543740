package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FromPath reads a layer from a .rego file, or from a directory of them and of
// its data.json. Tests
// (_test.rego) and hidden files are left out; links are followed only for
// path itself, so that a directory means what lies in it.
func FromPath(name string, kind Kind, path string) (Layer, error) {
	l := Layer{Name: name, Kind: kind}
	if IsBundle(path) {
		return l, fmt.Errorf("reading policy %s: a bundle is read with the keys that may sign it: name both in the configuration (policy, policy_keys), or give --key", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return l, fmt.Errorf("reading policy: %w", err)
	}
	if !info.IsDir() {
		f, err := readFile(path, filepath.Base(path))
		l.Files = []File{f}
		return l, err
	}
	names, err := sources(path, isSource)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("reading policy %s: no .rego file in it", path)
	}
	if err != nil {
		return l, err
	}
	for _, name := range names {
		f, err := readFile(filepath.Join(path, name), name)
		if err != nil {
			return l, err
		}
		l.Files = append(l.Files, f)
	}
	l.Data, err = readData(path)
	return l, err
}

// readData reads data.json of a directory, if there is one.
func readData(dir string) ([]byte, error) {
	if _, err := os.Lstat(filepath.Join(dir, "data.json")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	f, err := readFile(filepath.Join(dir, "data.json"), "data.json")
	return f.Source, err
}

// isSource reports whether a layer is made of files of this name.
func isSource(name string) bool {
	return strings.HasSuffix(name, ".rego") && !strings.HasSuffix(name, "_test.rego")
}

// sources lists the files below dir that want accepts, relative to it and
// sorted. Hidden files and directories are left out.
func sources(dir string, want func(name string) bool) ([]string, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		switch hidden := p != "." && strings.HasPrefix(d.Name(), "."); {
		case err != nil:
			return err
		case d.IsDir() && hidden:
			return fs.SkipDir
		case d.IsDir() || hidden || !want(d.Name()):
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", p)
		case len(names) == maxFiles:
			return fmt.Errorf("more than %d files", maxFiles)
		}
		names = append(names, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading policy %s: %w", dir, err)
	}
	slices.Sort(names)
	return names, nil
}

// beside is sources without what lies in directories of dir.
func beside(dir string, want func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading policy %s: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && want(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("reading policy %s: more than %d files", dir, maxFiles)
	}
	return names, nil
}

func readFile(path, name string) (File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // opening a pipe waits for its writer
		return File{}, fmt.Errorf("reading policy: %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("reading policy: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("reading policy: %s is not a regular file", path)
	}
	source, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return File{}, fmt.Errorf("reading policy: %w", err)
	}
	if len(source) > maxFile {
		return File{}, fmt.Errorf("reading policy: %s is larger than %d bytes", path, maxFile)
	}
	return File{Name: name, Source: source}, nil
}
