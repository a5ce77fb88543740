package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// readState fills in what files of the git directory say. Only repositories
// whose references are not files need git itself.
func (r *Repo) readState(ctx context.Context) error {
	config, err := readSmall(filepath.Join(r.Common, "config"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	settings := parseConfig(config)
	r.Format = SHA1
	if strings.EqualFold(settings["extensions.objectformat"], SHA256) {
		r.Format = SHA256
	}
	if r.Dir == r.Common && isTrue(settings["core.bare"]) {
		r.Bare, r.Top = true, ""
	}
	info, err := os.Lstat(filepath.Join(r.Common, "shallow"))
	r.Shallow = err == nil && info.Size() > 0
	r.readAlternates()
	if storage := settings["extensions.refstorage"]; storage != "" && storage != "files" {
		r.tables = true
		return r.askHead(ctx)
	}
	return r.readHead()
}

// readHead reads HEAD and the reference it names.
func (r *Repo) readHead() error {
	value, err := readHeadFile(filepath.Join(r.Dir, "HEAD"))
	if err != nil {
		return err
	}
	ref, symbolic := strings.CutPrefix(value, "ref:")
	if !symbolic {
		r.Head, err = r.objectName(value)
		return err
	}
	r.Head, err = r.follow(strings.TrimSpace(ref), func(ref string) { r.Branch = abbreviate(ref) })
	return err
}

// follow returns the object that a reference kept as a file leads to, "" if
// there is none, and calls each for the references on the way.
func (r *Repo) follow(ref string, each func(ref string)) (string, error) {
	common, err := os.OpenRoot(r.Common)
	if err != nil {
		return "", err
	}
	defer common.Close()
	// git follows symbolic references five deep.
	for range 5 {
		if err := checkRefName(ref); err != nil {
			return "", err
		}
		each(ref)
		value, err := looseRef(common, ref)
		if errors.Is(err, fs.ErrNotExist) {
			value, err = packedRef(common, ref)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		next, symbolic := strings.CutPrefix(value, "ref:")
		if !symbolic {
			return r.objectName(value)
		}
		ref = strings.TrimSpace(next)
	}
	return "", fmt.Errorf("%s: too many symbolic references", ref)
}

// readHeadFile returns what HEAD says. One that is a link names a reference by
// its target, as core.preferSymlinkRefs makes it; the link is not followed.
func readHeadFile(path string) (string, error) {
	if target, err := os.Readlink(path); err == nil {
		return "ref: " + target, nil
	}
	content, err := readSmall(path)
	return strings.TrimSpace(line(content)), err
}

// looseRef reads a reference kept as a file. A directory of that name holds
// other references.
func looseRef(common *os.Root, ref string) (string, error) {
	f, err := common.OpenFile(ref, readWithin, 0)
	if errors.Is(err, syscall.ENOTDIR) {
		return "", fs.ErrNotExist
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return "", fs.ErrNotExist
	}
	b, err := readRegular(f)
	return strings.TrimSpace(line(b)), err
}

func packedRef(common *os.Root, ref string) (string, error) {
	f, err := common.OpenFile("packed-refs", readWithin, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("packed-refs is not a regular file")
	}
	want := []byte(" " + ref)
	for in := bufio.NewScanner(f); in.Scan(); {
		if name, ok := bytes.CutSuffix(in.Bytes(), want); ok && bytes.IndexByte(name, ' ') < 0 {
			return string(name), nil
		}
	}
	return "", fs.ErrNotExist
}

// askHead asks git where references are not files.
func (r *Repo) askHead(ctx context.Context) error {
	ref, err := r.output(ctx, "symbolic-ref", "--quiet", "HEAD")
	if err == nil {
		r.Branch = abbreviate(strings.TrimSpace(string(ref)))
	}
	head, err := r.output(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	if err != nil {
		if r.Branch != "" {
			return nil // before the first commit
		}
		return fmt.Errorf("HEAD: %w", err)
	}
	r.Head, err = r.objectName(strings.TrimSpace(string(head)))
	return err
}

// objectName accepts a full object name and nothing else.
func (r *Repo) objectName(s string) (string, error) {
	want := map[string]int{SHA1: 40, SHA256: 64}[r.Format]
	if len(s) != want || strings.Trim(s, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%.80q is no %s object name", s, r.Format)
	}
	return s, nil
}

// checkRefName refuses reference names that are no plain path below refs.
func checkRefName(ref string) error {
	if !strings.HasPrefix(ref, "refs/") || !filepath.IsLocal(ref) || filepath.Clean(ref) != ref || strings.ContainsAny(ref, " ~^:?*[\\\x00\x7f") {
		return fmt.Errorf("%.80q is a reference that git would refuse", ref)
	}
	return nil
}
