package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/verify"
)

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
	at, by, err := e.cosignatures(key)
	if err != nil {
		return &hintError{fmt.Errorf("the log is right, and its cosignatures are not: %w", err), "carrel log checkpoint has it cosigned anew"}
	}
	return e.reportVerified(report, key, o.JSON, at, by)
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
	b, err := private.Read(path, 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (e *Records) reportVerified(r verify.Report, key string, asJSON bool, at verify.Checkpoint, by []verify.Cosignature) error {
	root := base64.StdEncoding.EncodeToString(r.Root[:])
	if asJSON {
		out := map[string]any{
			"ok": true, "size": r.Size, "checked": r.Checked, "root": root, "key": key,
			"unsigned": r.Unsigned, "torn": r.Torn, "runs": r.Runs, "open": listed(r.Open), "unknown": listed(r.Unknown),
		}
		if r.Checkpoint != nil {
			out["checkpoint"] = map[string]any{"origin": r.Checkpoint.Origin, "size": r.Checkpoint.Size}
		}
		if by != nil {
			out["cosigned"] = map[string]any{"size": at.Size, "by": by}
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
	for _, c := range by {
		fmt.Fprintf(w, "  cosigned up to %d by %s at %s\n", at.Size, terminal.Escape(c.Witness), c.Time.Format(time.RFC3339))
	}
	fmt.Fprintf(w, "  %s complete, %d open", plural(r.Runs, "run"), len(r.Open))
	if len(r.Unknown) > 0 {
		fmt.Fprintf(w, ", %s without a result", plural(len(r.Unknown), "action"))
	}
	fmt.Fprintln(w)
	return nil
}
