package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/private"
)

// maxTrust bounds the file of accepted grants.
const maxTrust = 16 << 20

// RepositoryID says which repository grants belong to: the place where the
// user works and the history it has. A copy elsewhere, or another history in
// the same place, has accepted nothing.
type RepositoryID struct {
	Workspace string `json:"workspace"`      // absolute, links resolved
	Root      string `json:"root,omitempty"` // the first commit; empty outside git
}

// Trust keeps which grants of which repository the user has accepted.
type Trust struct {
	path string
	now  func() time.Time
}

type acceptance struct {
	RepositoryID
	Digest carrel.Digest `json:"digest"` // of Grants
	Grants []Grant       `json:"grants"`
	Time   time.Time     `json:"time"`
}

type trustFile struct {
	Version      int          `json:"v"`
	Repositories []acceptance `json:"repositories"`
}

// OpenTrust returns the store in path, a file in the state directory, which
// need not exist yet.
func OpenTrust(path string) *Trust { return &Trust{path, time.Now} }

// Fresh returns the grants that the user has not accepted for this
// repository. None means that all apply: asking for less than was accepted
// needs no new answer.
func (t *Trust) Fresh(id RepositoryID, grants []Grant) ([]Grant, error) {
	file, err := t.read()
	if err != nil {
		return nil, err
	}
	var accepted []Grant
	for _, a := range file.Repositories {
		if a.RepositoryID == id {
			accepted = a.Grants
		}
	}
	var fresh []Grant
	for _, g := range grants {
		if !slices.ContainsFunc(accepted, g.same) {
			fresh = append(fresh, g)
		}
	}
	return fresh, nil
}

// Accept replaces what was accepted for this repository by exactly these
// grants. The caller puts it through the gate, which records who accepted what.
func (t *Trust) Accept(id RepositoryID, grants []Grant) error {
	if !filepath.IsAbs(id.Workspace) {
		return fmt.Errorf("trusting a repository: %q is not an absolute path", id.Workspace)
	}
	digest, err := GrantsDigest(grants)
	if err != nil {
		return err
	}
	err = t.edit(func(f *trustFile) {
		f.Repositories = append(without(f.Repositories, id), acceptance{id, digest, grants, t.now().UTC().Truncate(time.Second)})
	})
	if err != nil {
		return fmt.Errorf("trusting a repository: %w", err)
	}
	return nil
}

// Forget withdraws everything accepted for this repository.
func (t *Trust) Forget(id RepositoryID) error {
	if err := t.edit(func(f *trustFile) { f.Repositories = without(f.Repositories, id) }); err != nil {
		return fmt.Errorf("withdrawing trust: %w", err)
	}
	return nil
}

func without(list []acceptance, id RepositoryID) []acceptance {
	return slices.DeleteFunc(list, func(a acceptance) bool { return a.RepositoryID == id })
}

func (t *Trust) edit(change func(*trustFile)) error {
	return private.Locked(filepath.Dir(t.path), func() error {
		file, err := t.read()
		if err != nil {
			return err
		}
		change(&file)
		raw, err := json.MarshalIndent(file, "", "  ")
		if err != nil {
			return err
		}
		return private.Replace(t.path, append(raw, '\n'))
	})
}

// read refuses a file that somebody else may have written, or whose digests do
// not fit: trust in doubt is no trust.
func (t *Trust) read() (trustFile, error) {
	raw, err := private.Read(t.path, maxTrust)
	if errors.Is(err, fs.ErrNotExist) {
		return trustFile{Version: 1}, nil
	}
	if err != nil {
		return trustFile{}, fmt.Errorf("reading accepted grants: %w", err)
	}
	var file trustFile
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return trustFile{}, fmt.Errorf("reading accepted grants: %s: %w", t.path, err)
	}
	if file.Version != 1 {
		return trustFile{}, fmt.Errorf("reading accepted grants: %s has version %d; this carrel knows 1", t.path, file.Version)
	}
	for _, a := range file.Repositories {
		if digest, err := GrantsDigest(a.Grants); err != nil || !digest.Equal(a.Digest) {
			return trustFile{}, fmt.Errorf("reading accepted grants: %s was edited (%s); remove it and run carrel trust again", t.path, cut(a.Workspace))
		}
	}
	return file, nil
}
