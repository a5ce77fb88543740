package workspace

import (
	"path"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// forbidden says what else would stop the steps half-way: a directory that
// cannot be written, or one that is to go and would not be empty.
func (p *applyPlan) forbidden(f *carrel.FileChange) string {
	dir, _, err := p.tree.parent(string(f.Path))
	if err != nil {
		return err.Error()
	}
	at := path.Dir(string(f.Path))
	if _, known := p.writable[at]; !known {
		err := unix.Faccessat(dir, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		p.writable[at], _ = lookupProblem(err)
		if err != nil && p.writable[at] == "" {
			p.writable[at] = err.Error()
		}
	}
	if why := p.writable[at]; why != "" {
		return why
	}
	if f.Before.Kind == carrel.FileDir && f.Kind != carrel.FileDir && !p.willBeEmpty(string(f.Path)) {
		return "the directory is to go, but holds files that the change does not delete"
	}
	return ""
}

func (p *applyPlan) willBeEmpty(rel string) bool {
	dir, name, err := p.tree.parent(rel)
	if err != nil {
		return false
	}
	fd, err := openBeneath(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	names, err := readNames(fd, len(p.gone))
	if err != nil {
		return false
	}
	for _, name := range names {
		if !p.gone[path.Join(rel, name)] {
			return false
		}
	}
	return true
}
