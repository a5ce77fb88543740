package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/internal/git/quote"
)

// Line is a line of a file in a commit.
type Line struct {
	Commit string
	Path   string
	Number int
}

// Blame returns the line as the commit that brought it has it: under that
// commit's path and number. The error wraps fs.ErrNotExist if the commit has
// no such line.
func (r *Repo) Blame(ctx context.Context, at Line) (Line, error) {
	p, err := r.pristine()
	if err != nil {
		return Line{}, err
	}
	defer p.Close()
	out, err := p.run(ctx, call{command: []string{"blame", "--porcelain", fmt.Sprintf("-L%d,%d", at.Number, at.Number), at.Commit, "--", at.Path}})
	var exit *exitError
	if errors.As(err, &exit) && (strings.Contains(exit.said, "no such path") || strings.Contains(exit.said, "has only")) {
		return Line{}, fmt.Errorf("%s:%d in commit %s: %w", at.Path, at.Number, short(at.Commit), fs.ErrNotExist)
	}
	if err != nil {
		return Line{}, fmt.Errorf("finding the commit of %s:%d: %w", at.Path, at.Number, err)
	}
	from, err := parseBlame(string(out))
	if err == nil {
		_, err = r.objectName(from.Commit)
	}
	return from, err
}

var errBlame = errors.New("git blame: unexpected output")

// parseBlame reads "COMMIT NUMBER …" and the line "filename PATH" below it.
func parseBlame(out string) (Line, error) {
	head, rest, _ := strings.Cut(out, "\n")
	fields := strings.Fields(head)
	if len(fields) < 3 {
		return Line{}, errBlame
	}
	n, err := strconv.Atoi(fields[1])
	if err != nil || n < 1 {
		return Line{}, errBlame
	}
	for l := range strings.Lines(rest) {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(l, "\n"), "filename "); ok {
			name, ok = quote.Read(name)
			if !ok {
				return Line{}, errBlame
			}
			return Line{fields[0], name, n}, nil
		}
		if strings.HasPrefix(l, "\t") {
			break // the line's content, which may say anything
		}
	}
	return Line{}, errBlame
}
