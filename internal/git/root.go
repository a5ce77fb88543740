package git

import (
	"context"
	"fmt"
	"strings"
)

// RootCommit returns the first commit of the history of HEAD, "" before the
// first commit: what tells one repository from another in the same place. Of
// several first commits it is the one that sorts first; of a shallow history,
// where it is cut.
func (r *Repo) RootCommit(ctx context.Context) (string, error) {
	if r.Head == "" {
		return "", nil
	}
	p, err := r.pristine()
	if err != nil {
		return "", err
	}
	defer p.Close()
	out, err := p.run(ctx, call{command: []string{"rev-list", "--max-parents=0", r.Head}})
	if err != nil {
		return "", fmt.Errorf("finding the first commit: %w", err)
	}
	first := ""
	for name := range strings.FieldsSeq(string(out)) {
		if first == "" || name < first {
			first = name
		}
	}
	return first, nil
}
