//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
	"github.com/carrel-dev/carrel/verify"
)

// EvidenceOptions are the flags of evidence.
type EvidenceOptions struct {
	Output string // a directory, or a file that ends in .tar.zst
	JSON   bool
}

// Evidence packs everything a third party needs to check a run offline.
func (e *Engine) Evidence(ctx context.Context, run string, opts EvidenceOptions) error {
	if err := errors.Join(notAnotherArchive(opts.Output), mustBeNew(opts.Output)); err != nil {
		return err
	}
	r, err := e.findRun(ctx, run)
	if err != nil {
		return err
	}
	if err := e.wholeRun(ctx, r.Run); err != nil {
		return fmt.Errorf("packing the evidence of %s: %w", r.Run, err)
	}
	op, err := e.operator(ctx, "")
	if err != nil {
		return err
	}
	b := &packing{e: e, run: r, pack: verify.Pack{}}
	if err := b.gather(ctx, op.gate); err != nil {
		return fmt.Errorf("packing the evidence of %s: %w", r.Run, err)
	}
	if err := b.seal(ctx, op.gate, opts.Output); err != nil {
		return fmt.Errorf("packing the evidence of %s: %w", r.Run, err)
	}
	if opts.JSON {
		return e.printJSON(map[string]any{"run": r.Run, "change": b.changeID(), "output": opts.Output, "files": len(b.pack), "attested": b.attested, "key": b.key.ID})
	}
	fmt.Fprintf(e.host.Stdout, "packed %s, %s, into %s\n  next: carrel verify %s\n", r.Run, plural(len(b.pack), "file"), terminal.Escape(opts.Output), terminal.Escape(opts.Output))
	if b.change != nil && !b.attested {
		fmt.Fprintf(e.host.Stdout, "  the change %s is in it and not attested: carrel attest %s\n", b.change.ID, b.change.ID)
	}
	return nil
}

// otherArchives end the names of archives that are not made here.
var otherArchives = []string{".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z"}

// notAnotherArchive refuses the name of an archive of another kind: what would
// be made is a directory of that name.
func notAnotherArchive(path string) error {
	if slices.Contains(otherArchives, strings.ToLower(filepath.Ext(path))) && !strings.HasSuffix(path, archiveSuffix) {
		return misused("-o %s: an archive of evidence is a new file that ends in %s; with another name it is a directory", path, archiveSuffix)
	}
	return nil
}

// mustBeNew refuses to write where something is.
func mustBeNew(path string) error {
	switch _, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return &hintError{fmt.Errorf("%s is there already", path), "name another, or remove it: evidence is never mixed with other files"}
}

// packing is a pack on its way.
type packing struct {
	e        *Engine
	run      *RunResult
	pack     verify.Pack
	key      verify.PublicKey
	logKey   string
	size     int64 // of the log under the pack's checkpoint
	change   *workspace.ChangeEntry
	attested bool
}

func (b *packing) changeID() carrel.ChangeID {
	if b.change == nil {
		return ""
	}
	return b.change.ID
}

// gather collects the files.
func (b *packing) gather(ctx context.Context, g *gate.Gate) error {
	log, err := b.e.openLog()
	if err != nil {
		return err
	}
	checkpoint, lacking, err := b.e.checkpoint(ctx, g, log)
	if err == nil {
		err = b.e.mustBeWitnessed(lacking)
	}
	if err != nil {
		return err
	}
	if b.logKey, err = audit.PublicKey(b.e.state("keys")); err != nil {
		return err
	}
	c, err := verify.OpenCheckpoint(checkpoint, b.logKey)
	if err != nil {
		return err
	}
	b.size = c.Size
	b.pack[verify.PackCheckpoint] = checkpoint
	b.pack[verify.LogKeyFile] = []byte(b.logKey + "\n")
	if err := b.records(ctx, checkpoint); err != nil {
		return err
	}
	if err := b.policy(); err != nil {
		return err
	}
	return b.addChange(ctx)
}
