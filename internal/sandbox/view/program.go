package view

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// program resolves the command on the PATH inside and makes it visible.
func (b *builder) program() error {
	name := b.Argv[0]
	path := ""
	if strings.Contains(name, "/") {
		path = b.inside(name)
	} else {
		found, err := b.lookUp(name)
		if err != nil {
			return err
		}
		path = found
	}
	b.plan.Program = path
	if within(path, b.Workspace) || within(path, Workspace) || within(path, b.plan.Home) {
		// What is there is decided by the staged copy, which only the tier sees.
		if _, err := os.Stat(path); err == nil {
			return b.startable(path, b.expose(path, 0))
		}
		return nil
	}
	return b.startable(path, b.expose(path, 0))
}

// inside turns a command given by path into its path inside.
func (b *builder) inside(name string) string {
	if within(filepath.Clean(name), Workspace) && b.Workspace != Workspace {
		return filepath.Join(b.Workspace, strings.TrimPrefix(filepath.Clean(name), Workspace))
	}
	return b.abs(name)
}

// lookUp finds a command on the PATH inside, as a shell there would.
func (b *builder) lookUp(name string) (string, error) {
	unusable := ""
	for _, dir := range b.path {
		path := filepath.Join(dir, name)
		fi, err := os.Stat(path)
		if err != nil || fi.IsDir() {
			continue
		}
		if fi.Mode()&0o111 != 0 {
			return path, nil
		}
		unusable = path
	}
	if unusable != "" {
		return "", notExecutable(unusable)
	}
	return "", &sandbox.StartError{Code: 127, Err: fmt.Errorf("%s: %w on the PATH of the desk", name, ErrNotFound),
		Fix: "install it, or name it by its path; --dry-run shows the PATH inside"}
}

// notExecutable says why a file that is there is no command.
func notExecutable(path string) error {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return &sandbox.StartError{Code: 126, Err: fmt.Errorf("%s is a directory: %w", path, ErrNotExecutable)}
	}
	return &sandbox.StartError{Code: 126, Err: fmt.Errorf("%s: %w", path, ErrNotExecutable), Fix: "chmod +x " + path}
}

// startable turns what was found about a command into the error and exit code
// people know from their shell.
func (b *builder) startable(path string, err error) error {
	var start *sandbox.StartError
	switch {
	case errors.As(err, &start):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &sandbox.StartError{Code: 127, Err: fmt.Errorf("%s: %w", path, ErrNotFound)}
	case err != nil:
		return &sandbox.StartError{Code: 126, Err: fmt.Errorf("%s: %w", path, err)}
	}
	fi, err := os.Stat(path)
	if err != nil {
		return &sandbox.StartError{Code: 127, Err: fmt.Errorf("%s: %w", path, ErrNotFound)}
	}
	if fi.IsDir() || fi.Mode()&0o111 == 0 {
		return notExecutable(path)
	}
	return nil
}

// maxInterpreters is how deep the kernel lets scripts name scripts.
const maxInterpreters = 4

// expose makes a program visible at its path: every link on the way, the file
// itself, what its kind of installation needs, and the interpreter it names.
func (b *builder) expose(path string, depth int) error {
	final, err := b.follow(path)
	if err != nil {
		return err
	}
	if err := b.surround(final); err != nil {
		return err
	}
	if depth >= maxInterpreters {
		return nil
	}
	if interpreter := b.interpreter(final); interpreter != "" {
		b.userPackages(final, interpreter)
		err := b.expose(interpreter, depth+1)
		if errors.Is(err, fs.ErrNotExist) {
			return &sandbox.StartError{Code: 127, Err: fmt.Errorf("%s: its first line names %s: %w", final, interpreter, ErrNotFound), Fix: "install that, or correct the line"}
		}
		if err != nil {
			return fmt.Errorf("its interpreter %s: %w", interpreter, err)
		}
	}
	return nil
}

// userPackages lets a script that `pip install --user` put into ~/.local/bin
// find its packages, which Python looks for in the home.
func (b *builder) userPackages(script, interpreter string) {
	local := filepath.Join(b.Home, ".local")
	if b.Home != "" && filepath.Dir(script) == local+"/bin" && strings.HasPrefix(filepath.Base(interpreter), "python") {
		b.set["PYTHONUSERBASE"] = local
	}
}

// surround shows a file with what it needs around it: the parts of a known
// manager, the installation it is part of, else its directory, or the file
// alone where the directory must not be seen.
func (b *builder) surround(file string) error {
	dir := filepath.Dir(file)
	if !b.visible(file) && (!b.manage(dir) || !b.visible(file)) {
		if err := b.refuseStore(file); err != nil {
			return err
		}
		tree, why := b.around(dir)
		if tree == dir && (b.refuse(dir) != nil || b.broad(dir)) {
			tree, why = file, "the program"
		}
		b.tree(tree, why)
		b.warnBeside(tree)
	}
	b.baseOfVenv(dir)
	return nil
}

// broad reports whether a directory is a place for all kinds of files rather
// than for programs.
func (b *builder) broad(dir string) bool {
	switch dir {
	case "/tmp", "/var/tmp", "/var", "/etc", "/srv", "/mnt", "/media", "/root", "/run":
		return true
	}
	return filepath.Dir(dir) == "/" || dir == b.Home || filepath.Dir(dir) == b.Home && !strings.HasPrefix(filepath.Base(dir), "bin")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// baseOfVenv shows the Python that a virtual environment was made from, if
// bin belongs to one.
func (b *builder) baseOfVenv(bin string) {
	for line := range strings.Lines(readSmall(filepath.Join(filepath.Dir(bin), "pyvenv.cfg"))) {
		key, value, _ := strings.Cut(line, "=")
		home := strings.TrimSpace(value)
		if strings.TrimSpace(key) != "home" || !filepath.IsAbs(home) || b.visible(home) {
			continue
		}
		if final, err := b.follow(home); err == nil && !b.manage(final) && b.refuse(filepath.Dir(final)) == nil {
			b.tree(filepath.Dir(final), "Python of the virtual environment")
		}
	}
}

// interpreter returns the program a script names in its first line, resolved
// on the PATH inside where it says `env`; "" for other files.
func (b *builder) interpreter(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	var head [256]byte
	n, _ := f.Read(head[:])
	line, ok := bytes.CutPrefix(head[:n], []byte("#!"))
	if !ok {
		return ""
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) == 0 || !filepath.IsAbs(words[0]) {
		return ""
	}
	if filepath.Base(words[0]) != "env" {
		return words[0]
	}
	for _, w := range words[1:] {
		if strings.HasPrefix(w, "-") || strings.Contains(w, "=") {
			continue
		}
		if path, err := b.lookUp(w); err == nil {
			return path
		}
		return ""
	}
	return ""
}
