package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// Tiles checks a log that is published below dir in the layout of C2SP
// tlog-tiles, against the key that signed its checkpoint: that its entries lead
// through its tiles to the root of that, and that nothing it names is missing. A log without a published checkpoint has
// fs.ErrNotExist; what is wrong is a *Fault.
func Tiles(ctx context.Context, dir, key string) (Checkpoint, error) {
	signed, err := readRegular(filepath.Join(dir, CheckpointFile), maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, err
	}
	if err != nil {
		return Checkpoint{}, &Fault{File: CheckpointFile, Reason: err.Error()}
	}
	c, err := OpenCheckpoint(signed, key)
	if err != nil {
		return Checkpoint{}, &Fault{File: CheckpointFile, Reason: err.Error()}
	}
	t := tileChecker{dir: dir, size: c.Size}
	for n := int64(0); n*TileWidth < c.Size; n++ {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		if err := t.bundle(n); err != nil {
			return c, err
		}
	}
	if err := t.partial(); err != nil {
		return c, err
	}
	if t.tree.Root() != c.Root {
		return c, &Fault{File: CheckpointFile, Reason: fmt.Sprintf("its entries do not have the root it signed of %d records", c.Size)}
	}
	return c, nil
}

// tileChecker reads a published log from front to back.
type tileChecker struct {
	dir    string
	size   int64
	tree   Tree
	levels [][]tlog.Hash // of each level what is not in a full tile yet
}

func (t *tileChecker) read(level int, n int64, width, limit int) ([]byte, string, error) {
	name := TilePath(level, n, width)
	b, err := readRegular(filepath.Join(t.dir, filepath.FromSlash(name)), int64(limit))
	if errors.Is(err, fs.ErrNotExist) && width < TileWidth { // a full one may stand for it, that replaced it since
		full, ferr := readRegular(filepath.Join(t.dir, filepath.FromSlash(TilePath(level, n, TileWidth))), int64(limit))
		if part, ok := beginning(full, level, width); ferr == nil && ok {
			return part, name, nil
		}
	}
	if err != nil {
		reason := err.Error()
		if errors.Is(err, os.ErrNotExist) {
			reason = "it is missing"
		}
		err = &Fault{File: name, Record: n * TileWidth, Reason: reason}
	}
	return b, name, err
}

// beginning returns what a partial tile, or bundle, holds of a full one.
func beginning(full []byte, level, width int) ([]byte, bool) {
	if level >= 0 {
		return full[:min(width*tlog.HashSize, len(full))], len(full) == TileWidth*tlog.HashSize
	}
	entries, err := Entries(full, TileWidth)
	if err != nil {
		return nil, false
	}
	end := 0
	for _, e := range entries[:width] {
		end += 2 + len(e)
	}
	return full[:end], true
}

// bundle checks one bundle of entries and what it fills.
func (t *tileChecker) bundle(n int64) error {
	width := int(min(TileWidth, t.size-n*TileWidth))
	raw, name, err := t.read(-1, n, width, TileWidth*(MaxRecord+2))
	if err != nil {
		return err
	}
	entries, err := Entries(raw, width)
	if err != nil {
		return &Fault{File: name, Record: n * TileWidth, Reason: err.Error()}
	}
	for i, entry := range entries {
		if _, err := Record(entry); err != nil {
			return &Fault{File: name, Record: n*TileWidth + int64(i), Reason: err.Error()}
		}
		leaf := tlog.RecordHash(entry)
		t.tree.Append(leaf, nil)
		if err := t.add(0, n*TileWidth+int64(i), leaf); err != nil {
			return err
		}
	}
	return nil
}

// add counts one more hash of a level, and checks the tile it fills.
func (t *tileChecker) add(level int, n int64, h tlog.Hash) error {
	if len(t.levels) == level {
		t.levels = append(t.levels, nil)
	}
	t.levels[level] = append(t.levels[level], h)
	if len(t.levels[level]) < TileWidth {
		return nil
	}
	var subtree Tree
	for _, h := range t.levels[level] {
		subtree.Append(h, nil)
	}
	if err := t.compare(level, n/TileWidth); err != nil {
		return err
	}
	t.levels[level] = t.levels[level][:0]
	return t.add(level+1, n/TileWidth, subtree.Root())
}

// compare checks a stored tile against what it must hold.
func (t *tileChecker) compare(level int, n int64) error {
	hashes := t.levels[level]
	raw, name, err := t.read(level, n, len(hashes), TileWidth*tlog.HashSize)
	if err != nil {
		return err
	}
	var want []byte
	for _, h := range hashes {
		want = append(want, h[:]...)
	}
	if !bytes.Equal(raw, want) {
		return &Fault{File: name, Record: n * TileWidth, Reason: "it does not hold the hashes that the entries give"}
	}
	return nil
}

// partial checks the tiles at the right edge.
func (t *tileChecker) partial() error {
	for level, hashes := range t.levels {
		if len(hashes) == 0 {
			continue
		}
		if err := t.compare(level, t.size>>(level*TileHeight)/TileWidth); err != nil {
			return err
		}
	}
	return nil
}
