package git

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrCut says that a history ends where it was cut, and that commits may be
// missing from what was asked for.
var ErrCut = errors.New("the history was cut there, and what came before is not here")

// Range lists the commits that to has and from has not, oldest first. More
// than limit is an error, and so is one at which a shallow history ends: what
// it hides might belong to them.
func (r *Repo) Range(ctx context.Context, from, to string, limit int) ([]string, error) {
	for _, name := range []string{from, to} {
		if _, err := r.objectName(name); err != nil {
			return nil, err
		}
	}
	p, err := r.pristine()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	out, err := p.run(ctx, call{command: []string{"rev-list", "--topo-order", "--max-count=" + strconv.Itoa(limit+1), to, "^" + from}})
	if err != nil {
		return nil, fmt.Errorf("listing the commits between %s and %s: %w", short(from), short(to), err)
	}
	names := strings.Fields(string(out))
	if len(names) > limit {
		return nil, fmt.Errorf("there are more than %d commits between %s and %s", limit, short(from), short(to))
	}
	cut, err := r.cut()
	if err != nil {
		return nil, err
	}
	commits := make([]string, len(names))
	for i, name := range names {
		if cut[name] {
			return nil, fmt.Errorf("commit %s: %w", short(name), ErrCut)
		}
		if commits[len(names)-1-i], err = r.objectName(name); err != nil {
			return nil, err
		}
	}
	return commits, nil
}

// cut is the set of commits at which a shallow history ends.
func (r *Repo) cut() (map[string]bool, error) {
	if !r.Shallow {
		return nil, nil
	}
	raw, err := readSmall(filepath.Join(r.Common, "shallow"))
	if err != nil {
		return nil, fmt.Errorf("reading where the history was cut: %w", err)
	}
	out := map[string]bool{}
	for name := range strings.FieldsSeq(string(raw)) {
		out[name] = true
	}
	return out, nil
}
