package workspace

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// dropForeign removes what the original does not have.
func (c *copier) dropForeign(to int, names []string, rel string) error {
	have, err := readNames(to, 1<<30)
	if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	for _, name := range have {
		if _, ok := slices.BinarySearch(names, name); ok || c.holes[path.Join(rel, name)] {
			continue
		}
		delete(c.index, path.Join(rel, name))
		if err := (&remover{top: to}).removeAll(to, name); err != nil {
			return fmt.Errorf("%s: %w", path.Join(rel, name), err)
		}
	}
	return nil
}

// dropVanished removes copies of what the user deleted, if the agent did not
// touch them.
func (c *copier) dropVanished(to int, l *Layer) error {
	for _, rel := range slices.Backward(slices.Sorted(maps.Keys(c.index))) { // children first
		known := c.index[rel]
		if rel == c.root || c.seen[rel] {
			continue
		}
		var st unix.Stat_t
		in := l.inside(rel)
		if statBeneath(to, in, &st) != nil {
			continue
		}
		dir, err := openBeneath(to, path.Dir(in), unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			continue
		}
		switch {
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			err = unix.Unlinkat(dir, path.Base(rel), unix.AT_REMOVEDIR) // stays while it holds the agent's files
		case versionOf(&st) == known.Copy:
			err = unix.Unlinkat(dir, path.Base(rel), 0)
		default:
			err = unix.EEXIST
		}
		unix.Close(dir)
		if err == nil {
			delete(c.index, rel)
		}
	}
	return nil
}
