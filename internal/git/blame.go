package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
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
			name, ok = unquotePath(name)
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

// unquotePath reads a path as git prints it: in quotes and with escapes if it
// holds what is not plain.
func unquotePath(s string) (string, bool) {
	inner, quoted := strings.CutPrefix(s, `"`)
	if !quoted {
		return s, s != ""
	}
	inner, ok := strings.CutSuffix(inner, `"`)
	var out strings.Builder
	for i := 0; ok && i < len(inner); i++ {
		if inner[i] != '\\' {
			out.WriteByte(inner[i])
			continue
		}
		if i++; i == len(inner) {
			return "", false
		}
		if at := strings.IndexByte("abtnvfr\"\\", inner[i]); at >= 0 {
			out.WriteByte("\a\b\t\n\v\f\r\"\\"[at])
			continue
		}
		if i+3 > len(inner) {
			return "", false
		}
		n, err := strconv.ParseUint(inner[i:i+3], 8, 8)
		if err != nil {
			return "", false
		}
		out.WriteByte(byte(n))
		i += 2
	}
	return out.String(), ok && out.Len() > 0
}
