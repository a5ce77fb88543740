package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"

	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// Records are the log of one user, for reading. They work on every system.
type Records struct{ host Host }

// OpenRecords opens the log for reading. It makes nothing.
func OpenRecords(host Host) *Records { return &Records{host} }

// state returns a path in the state directory.
func (e *Records) state(elem ...string) string {
	return filepath.Join(append([]string{e.host.Paths.State}, elem...)...)
}

func (h Host) logOptions() audit.Options {
	return audit.Options{
		Dir:    filepath.Join(h.Paths.State, "log"),
		KeyDir: filepath.Join(h.Paths.State, "keys"),
		Second: h.Paths.Second,
		OnSlow: func() {
			fmt.Fprintln(h.Stderr, "carrel: waiting for the log: another process holds it, the disk does not answer, or the log is being rebuilt")
		},
	}
}

// LogShow prints records: of a run, of the last one, or all.
func (e *Records) LogShow(ctx context.Context, opts LogShowOptions) error {
	if opts.Run != "" {
		run, err := e.runNamed(ctx, opts.Run)
		if err != nil {
			return err
		}
		opts.Run = string(run)
	}
	if opts.All && opts.Run != "" {
		return misused("--all is every record of the log, and %s names one run", opts.Run)
	}
	reader := audit.OpenReader(e.state("log"))
	records, err := e.chooseRecords(ctx, reader, opts)
	if err != nil {
		return err
	}
	shown := false
	for entry, err := range records {
		if err != nil {
			if errors.Is(err, context.Canceled) && opts.Follow {
				return nil
			}
			return err
		}
		if opts.Follow && opts.Run != "" && string(entry.Record.Run) != opts.Run {
			continue
		}
		if err := e.showRecord(entry, opts.JSON); err != nil {
			return err
		}
		shown = true
	}
	if opts.Run != "" && !shown {
		return noRecords(opts.Run)
	}
	return nil
}

func noRecords(run string) error {
	return &hintError{fmt.Errorf("the log has no records of %s", run), whereNamed["run_"]}
}

func (e *Records) chooseRecords(ctx context.Context, reader *audit.Reader, opts LogShowOptions) (iter.Seq2[audit.Entry, error], error) {
	switch {
	case opts.Follow:
		from, err := reader.Size(ctx)
		if opts.All || opts.Run != "" {
			from = 0
		}
		return reader.Follow(ctx, from), err
	case opts.All:
		return reader.From(ctx, 0), nil
	}
	run, err := e.runNamed(ctx, opts.Run)
	if err != nil || run == "" {
		return reader.From(ctx, 0), err
	}
	return reader.Run(ctx, run), nil
}

func (e *Records) showRecord(entry audit.Entry, asJSON bool) error {
	if asJSON {
		_, err := e.host.Stdout.Write(append(terminal.EscapeJSON(bytes.Clone(entry.Raw)), '\n'))
		return err
	}
	_, err := fmt.Fprintf(e.host.Stdout, "%6d  %s\n", entry.Index, audit.Format(entry.Record, terminal.Escape))
	return err
}

// logKey returns the log's public key, or says that there is no log.
func (e *Records) logKey() (string, error) {
	key, err := audit.PublicKey(e.state("keys"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", &hintError{fmt.Errorf("there is no log yet: %w", err), "it begins with the first run (carrel run -- COMMAND) or hook (carrel init CLIENT)"}
	}
	return key, err
}

// LogShowOptions are the flags of log show.
type LogShowOptions struct {
	Run    string
	All    bool
	Follow bool
	JSON   bool
}
