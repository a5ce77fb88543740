package git

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// ErrBranchExists says that the branch is there already.
var ErrBranchExists = errors.New("the branch exists already; choose another name")

// CheckBranch refuses names that cannot be a new branch.
func (r *Repo) CheckBranch(ctx context.Context, name string) error {
	if strings.HasPrefix(name, "-") || name == "HEAD" || strings.HasPrefix(name, "refs/") {
		return fmt.Errorf("%q cannot be the name of a branch", name)
	}
	if _, err := r.output(ctx, "check-ref-format", "refs/heads/"+name); err != nil {
		var exit *exitError
		if errors.As(err, &exit) {
			return fmt.Errorf("%q cannot be the name of a branch (see git help check-ref-format)", name)
		}
		return err
	}
	_, err := r.output(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", "refs/heads/"+name)
	if err == nil {
		return fmt.Errorf("%s: %w", name, ErrBranchExists)
	}
	return nil
}

// Publish moves the draft's objects into the repository, and then makes the
// branch, which must not exist. Before the last step nothing of it can be
// seen, and after a crash there are at most objects that nothing names.
func (d *Draft) Publish(ctx context.Context, branch string, c Commit, who Identity) error {
	if err := d.repo.CheckBranch(ctx, branch); err != nil {
		return err
	}
	if err := d.migrate(); err != nil {
		return fmt.Errorf("adding objects to the repository: %w", err)
	}
	env := []string{"GIT_COMMITTER_NAME=" + who.Name, "GIT_COMMITTER_EMAIL=" + who.Email}
	zero := strings.Repeat("0", len(c.Name))
	update := call{
		gitDir: d.repo.Dir, as: d.repo.owner, env: env,
		command: []string{"update-ref", "--no-deref", "-m", "carrel: apply change", "refs/heads/" + branch, c.Name, zero},
	}
	if _, err := run(ctx, update); err != nil {
		return fmt.Errorf("making branch %s: %w", branch, err)
	}
	return nil
}

// migrate copies every object file into the repository, packs before their
// indices: git finds a pack by its index.
func (p *pristine) migrate() error {
	from, to := filepath.Join(p.dir, "objects"), filepath.Join(p.repo.Common, "objects")
	var files []string
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		files = append(files, rel)
		return err
	})
	if err != nil {
		return err
	}
	sort.SliceStable(files, func(i, j int) bool {
		return !strings.HasSuffix(files[i], ".idx") && strings.HasSuffix(files[j], ".idx")
	})
	objects, err := p.repo.openObjects(to)
	if err != nil {
		return err
	}
	defer objects.Close()
	for _, rel := range files {
		if strings.HasPrefix(rel, "info/") {
			continue
		}
		if err := p.repo.adopt(objects, filepath.Join(from, rel), rel); err != nil {
			return err
		}
	}
	return nil
}

// openObjects opens the repository's object directory so that no link leads
// out of it: what root writes for a repository's owner goes nowhere that the
// owner could not write.
func (r *Repo) openObjects(dir string) (*os.Root, error) {
	objects, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	info, err := objects.Stat(".")
	if err == nil && os.Geteuid() == 0 && statOf(info).Uid != r.owner.uid {
		err = fmt.Errorf("%s belongs to another user than the repository", dir)
	}
	if err != nil {
		objects.Close()
		return nil, err
	}
	return objects, nil
}

// adopt copies one object file into place: whole, durable, owned like the
// repository, and only if there is none of that name.
func (r *Repo) adopt(objects *os.Root, from, to string) error {
	if _, err := objects.Lstat(to); err == nil {
		return nil // objects are named by their content
	}
	if err := objects.Mkdir(filepath.Dir(to), 0o777); err == nil {
		if err := r.giveDir(objects, filepath.Dir(to)); err != nil {
			return err
		}
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	name := filepath.Join(filepath.Dir(to), "tmp_obj_carrel_"+rand.Text())
	out, err := objects.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Remove(name) }() // it has its own name by then, or is left over
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := errors.Join(out.Chmod(0o444), out.Sync(), r.give(out)); err != nil {
		return err
	}
	return objects.Rename(name, to)
}

func (r *Repo) giveDir(objects *os.Root, name string) error {
	dir, err := objects.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return r.give(dir)
}

// give makes a file the repository owner's when Carrel runs as root.
func (r *Repo) give(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return f.Chown(int(r.owner.uid), int(r.owner.gid))
}
