//go:build linux

package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/blob"
	"github.com/carrel-dev/carrel/internal/credential"
)

// Engine is one user's Carrel, opened for one command. Its methods are meant
// for one goroutine.
type Engine struct {
	Records
	blobs *blob.Store
	typed *bufio.Reader // what the user types, once asked

	redact  *audit.Redactor // keeps keys out of the log
	openLog func() (*audit.Log, error)
	log     *audit.Log // nil until first used
}

// Open makes the user's state directory if need be and opens what every
// command uses. The log is opened on first use. The caller closes the engine.
func Open(ctx context.Context, host Host) (*Engine, error) {
	if err := privateDir(host.Paths.State); err != nil {
		return nil, err
	}
	blobs, err := blob.Open(filepath.Join(host.Paths.State, "blobs"))
	if err != nil {
		return nil, err
	}
	e := &Engine{Records: Records{host}, blobs: blobs}
	e.redact = audit.NewRedactor(e.state("keys"))
	e.openLog = sync.OnceValues(func() (*audit.Log, error) {
		if err := privateDir(filepath.Dir(host.Paths.Second)); err != nil {
			return nil, err
		}
		opts := host.logOptions()
		opts.Redact = e.redact
		log, err := audit.Open(ctx, opts)
		e.log = log
		return log, err
	})
	return e, nil
}

// unlogged keeps what a source gives out of the log. Keys that are too short
// to be told from other text stay what they are.
func (e *Engine) unlogged(s *credential.Source) *credential.Source {
	return s.Tell(func(key string, spellings []string) error {
		if len(key) < audit.MinSecret {
			return nil
		}
		return e.redact.Add(key, spellings)
	})
}

// Close closes what was opened. An error means that something handed to the
// log may not be durable.
func (e *Engine) Close() error {
	if e.log == nil {
		return nil
	}
	log := e.log
	e.log = nil
	return log.Close()
}

// privateDir makes dir with mode 0700 and refuses one that others can reach
// or that belongs to somebody else.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		if errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) {
			return &hintError{fmt.Errorf("making the state directory: %w", err), "set XDG_STATE_HOME to a directory you can write"}
		}
		return fmt.Errorf("making the state directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("checking the state directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return checkPrivate(dir, info)
}
