package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// ErrAmbiguous says that a name means several commits. git takes one of them,
// with a warning: a tag before a branch, and either before what was fetched of
// a remote. So whoever may push a tag "origin/main" would choose what is
// compared with what.
var ErrAmbiguous = errors.New("it names several commits")

// shortNames are where git looks for a reference that is not named in full, in
// its order.
var shortNames = []string{"refs/%s", "refs/tags/%s", "refs/heads/%s", "refs/remotes/%s", "refs/remotes/%s/HEAD"}

// Resolve returns the commit that a name of the user's means. The error wraps
// fs.ErrNotExist if there is none, and ErrAmbiguous if there are several.
func (r *Repo) Resolve(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "-") {
		return "", fmt.Errorf("%q is not the name of a commit", name)
	}
	if err := r.means(ctx, name); err != nil {
		return "", err
	}
	out, err := r.output(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	var exit *exitError
	if errors.As(err, &exit) {
		return "", noCommit(name)
	}
	if err != nil {
		return "", err
	}
	return r.objectName(line(out))
}

// means refuses a name that begins with one of several references.
func (r *Repo) means(ctx context.Context, name string) error {
	short := name
	if i := strings.IndexAny(name, "^~:"); i >= 0 {
		short = name[:i]
	}
	short, _, _ = strings.Cut(short, "@{")
	if _, err := r.objectName(short); err == nil || short == "HEAD" || strings.HasPrefix(short, "refs/") {
		return nil // nothing comes before these
	}
	var first, found string
	for _, pattern := range shortNames {
		ref := fmt.Sprintf(pattern, short)
		if checkRefName(ref) != nil {
			continue
		}
		object, err := r.refersTo(ctx, ref)
		switch {
		case err != nil:
			return err
		case object == "" || object == found:
		case found != "":
			return fmt.Errorf("%q: %w: %s and %s; name one of them in full", name, ErrAmbiguous, first, ref)
		default:
			first, found = ref, object
		}
	}
	return nil
}

// refersTo returns the object that a reference, named in full, leads to; "" if
// there is no such reference.
func (r *Repo) refersTo(ctx context.Context, ref string) (string, error) {
	if !r.tables {
		return r.follow(ref, func(string) {})
	}
	out, err := r.output(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", ref)
	var exit *exitError
	if errors.As(err, &exit) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return r.objectName(strings.TrimSpace(string(out)))
}

// noCommit is the error for a name that leads to no commit.
type noCommit string

func (name noCommit) Error() string { return fmt.Sprintf("%q is no commit here", string(name)) }

// Is makes it one of fs.ErrNotExist, without the words of that: no file is meant.
func (name noCommit) Is(target error) bool { return target == fs.ErrNotExist }
