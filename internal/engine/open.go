//go:build linux

package engine

import (
	"bufio"
	"context"
	"path/filepath"
	"sync"

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
	onClose []func()   // ends the policies of verbs
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

func (e *Engine) unlogged(s *credential.Source) *credential.Source { return unlogged(s, e.redact.Add) }

// Close closes what was opened. An error means that something handed to the
// log may not be durable.
func (e *Engine) Close() error {
	for _, end := range e.onClose {
		end()
	}
	e.onClose = nil
	if e.log == nil {
		return nil
	}
	log := e.log
	e.log = nil
	return log.Close()
}
