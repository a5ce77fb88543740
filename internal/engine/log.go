package engine

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/verify"
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
	}
}

// LogShow prints records: of a run, of the last one, or all.
func (e *Records) LogShow(ctx context.Context, opts LogShowOptions) error {
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
	run := carrel.RunID(opts.Run)
	if run == "" {
		ids, err := e.listRuns()
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			return reader.From(ctx, 0), nil
		}
		run = ids[0]
	}
	if err := checkID(string(run), "run_"); err != nil {
		return nil, err
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
		return "", &hintError{fmt.Errorf("there is no log yet: %w", err), "it begins with the first run: carrel run -- COMMAND"}
	}
	return key, err
}

// LogVerifyOptions are the flags of log verify.
type LogVerifyOptions struct {
	Incremental bool // only what came since the last complete or incremental check
	JSON        bool
}

// LogVerify checks the log and remembers up to where it was right.
func (e *Records) LogVerify(ctx context.Context, o LogVerifyOptions) error {
	key, err := e.logKey()
	if err != nil {
		return err
	}
	opts := verify.Options{}
	if opts.Newest, err = newestCheckpoint(e.host.Paths.Second); err != nil {
		return err
	}
	if o.Incremental {
		if opts.From, err = e.checkedBefore(key); err != nil {
			return err
		}
	}
	if term.IsTerminal(int(e.host.Stderr.Fd())) {
		progress := terminal.NewProgress(e.host.Stderr)
		defer progress.Done()
		opts.Progress = func(done, total int64) {
			if total >= longLog {
				progress.Show("checking the log " + terminal.Bar(done, total))
			}
		}
	}
	report, err := verify.Log(ctx, e.state("log"), key, opts)
	var fault *verify.Fault
	if errors.As(err, &fault) {
		return &hintError{fmt.Errorf("the log is not what was recorded: %w", err), "keep a copy of " + filepath.Join(e.state("log")) + " as it is, and find out who could write there"}
	}
	if err != nil {
		return err
	}
	if !o.Incremental {
		if err := e.verifyTiles(ctx, key); err != nil {
			return err
		}
	}
	if err := e.rememberChecked(opts.Newest, key, report); err != nil {
		return err
	}
	return e.reportVerified(report, key, o.JSON)
}

// verifyTiles checks what was published of the log, if anything was.
func (e *Records) verifyTiles(ctx context.Context, key string) error {
	dir := e.state("log", audit.TilesDir)
	_, err := verify.Tiles(ctx, dir, key)
	var fault *verify.Fault
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, &fault):
		return &hintError{fmt.Errorf("the log is right, and its published tiles are not: %w", err), "remove " + dir + " and make it again with carrel log checkpoint"}
	}
	return err
}

// longLog is from how many bytes on a check shows how far it is.
const longLog = 8 << 20

// checkedFile is the checkpoint up to which the log was found right.
const checkedFile = "checked-checkpoint"

// checkedBefore returns up to where the log was checked; nil: nowhere.
func (e *Records) checkedBefore(key string) (*verify.Checkpoint, error) {
	signed, err := private.Read(e.state(checkedFile), 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := verify.OpenCheckpoint(signed, key)
	if err != nil {
		return nil, nil // of another key: check from the start
	}
	return &c, nil
}

func (e *Records) rememberChecked(newest []byte, key string, r verify.Report) error {
	if c, err := verify.OpenCheckpoint(newest, key); err != nil || r.Checkpoint == nil || c.Size > r.Size {
		return nil
	}
	return private.Replace(e.state(checkedFile), newest)
}

// newestCheckpoint reads the checkpoint in the second place; none is no error.
func newestCheckpoint(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (e *Records) reportVerified(r verify.Report, key string, asJSON bool) error {
	root := base64.StdEncoding.EncodeToString(r.Root[:])
	if asJSON {
		out := map[string]any{
			"ok": true, "size": r.Size, "checked": r.Checked, "root": root, "key": key,
			"unsigned": r.Unsigned, "torn": r.Torn, "runs": r.Runs, "open": r.Open, "unknown": r.Unknown,
		}
		if r.Checkpoint != nil {
			out["checkpoint"] = map[string]any{"origin": r.Checkpoint.Origin, "size": r.Checkpoint.Size}
		}
		return e.printJSON(out)
	}
	w := e.host.Stdout
	fmt.Fprintf(w, "ok: %s, root %s\n", plural(int(r.Size), "record"), root)
	if r.Checked < r.Size {
		fmt.Fprintf(w, "  %d of them now, the others before\n", r.Checked)
	}
	if r.Checkpoint != nil {
		fmt.Fprintf(w, "  signed up to %d by %s; %d after that\n", r.Checkpoint.Size, key, r.Unsigned)
	} else {
		fmt.Fprintf(w, "  no checkpoint has been signed yet\n")
	}
	fmt.Fprintf(w, "  %s complete, %d open", plural(r.Runs, "run"), len(r.Open))
	if len(r.Unknown) > 0 {
		fmt.Fprintf(w, ", %s without a result", plural(len(r.Unknown), "action"))
	}
	fmt.Fprintln(w)
	return nil
}

// RecoverLog makes a log usable again that was restored from a backup.
func RecoverLog(ctx context.Context, host Host, accept bool) error {
	r, err := audit.Recover(ctx, host.logOptions(), accept)
	if err != nil {
		return err
	}
	fmt.Fprintf(host.Stdout, "the log has %s; the second place knew %d; %d bytes were no records\n", plural(int(r.Size), "record"), r.Known, r.Cut)
	if r.Accepted != "" {
		fmt.Fprintf(host.Stdout, "  accepted and recorded: %s\n", terminal.Escape(r.Accepted))
	}
	return nil
}

// LogShowOptions are the flags of log show.
type LogShowOptions struct {
	Run    string
	All    bool
	Follow bool
	JSON   bool
}

// listRuns returns the ids of all runs, newest first.
func (e *Records) listRuns() ([]carrel.RunID, error) {
	entries, err := os.ReadDir(e.state("runs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing runs: %w", err)
	}
	var ids []carrel.RunID
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), ".json"); ok && carrel.CheckID(id, "run_") == nil {
			ids = append(ids, carrel.RunID(id))
		}
	}
	slices.Reverse(ids)
	return ids, nil
}
