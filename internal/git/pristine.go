package git

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/carrel-dev/carrel/internal/git/quote"
)

// pristine is a git directory of our own that borrows the repository's
// objects, and knows where a shallow history ends. Nothing else of the
// repository is read through it: no settings, hooks, references, replacements
// or grafts.
type pristine struct {
	dir  string
	repo *Repo
}

// pristine makes one in a private temporary directory. Close removes it.
func (r *Repo) pristine() (*pristine, error) {
	dir, err := os.MkdirTemp("", "carrel-git-")
	if err != nil {
		return nil, fmt.Errorf("making a pristine git directory: %w", err)
	}
	p := &pristine{dir, r}
	if err := p.lay(); err != nil {
		p.Close()
		return nil, fmt.Errorf("making a pristine git directory: %w", err)
	}
	return p, nil
}

func (p *pristine) lay() error {
	for _, d := range []string{"objects/info", "objects/pack", "refs", "info"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o700); err != nil {
			return err
		}
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
	if p.repo.Format == SHA256 {
		config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = sha256\n"
	}
	files := map[string]string{"HEAD": "ref: refs/heads/none\n", "config": config}
	if p.repo.Shallow { // where history was cut: without it walking fails there
		cut, err := readSmall(filepath.Join(p.repo.Common, "shallow"))
		if err != nil {
			return err
		}
		files["shallow"] = string(cut)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Close removes the directory.
func (p *pristine) Close() error { return os.RemoveAll(p.dir) }

// run runs git here. Objects are written here and read from the repository,
// too. The path is given in the environment, where git takes it literally if
// it is quoted.
func (p *pristine) run(ctx context.Context, c call) ([]byte, error) {
	c.gitDir = p.dir
	c.env = append(c.env, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+quote.Always(filepath.Join(p.repo.Common, "objects")))
	return run(ctx, c)
}
