package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel/verify"
)

// TilesDir is where a log publishes itself in the layout of C2SP tlog-tiles,
// below its own directory. Any static file server can serve it.
const TilesDir = "tiles"

// PublishTiles brings the tiles of a log up to its newest signed checkpoint
// and returns that. Only what is new is written; tiles that do not lead to the
// checkpoint's root are made again from the segments. Everything a checkpoint
// names is durable before the checkpoint is there.
func PublishTiles(ctx context.Context, dir, key string) (verify.Checkpoint, error) {
	return OpenReader(dir).publish(ctx, key)
}

func (r *Reader) publish(ctx context.Context, key string) (verify.Checkpoint, error) {
	dir := r.dir
	c, signed, err := r.Checkpoint(key)
	if err != nil {
		return c, fmt.Errorf("publishing tiles: %w", err)
	}
	lock, err := openLockFile(filepath.Join(dir, "tiles.lock"))
	if err != nil {
		return c, fmt.Errorf("publishing tiles: %w", err)
	}
	defer lock.Close()
	end := time.Now().Add(time.Minute)
	if err := await(ctx, lock, func() bool { return time.Now().After(end) }); err != nil {
		return c, fmt.Errorf("publishing tiles: %w", err)
	}
	to := filepath.Join(dir, TilesDir)
	if done, err := readSmall(filepath.Join(to, verify.CheckpointFile)); err == nil && bytes.Equal(done, signed) {
		return c, nil
	}
	err = publishTiles(ctx, r, to, c, key)
	if errors.Is(err, errTiles) { // what was there cannot be gone on from
		if err = os.RemoveAll(to); err == nil {
			err = publishTiles(ctx, r, to, c, key)
		}
	}
	if err == nil {
		err = replace(r.disk, filepath.Join(to, verify.CheckpointFile), signed)
	}
	if err != nil {
		return c, fmt.Errorf("publishing tiles: %w", err)
	}
	return c, nil
}

var errTiles = errors.New("the tiles do not lead to the checkpoint's root")

func publishTiles(ctx context.Context, r *Reader, to string, c verify.Checkpoint, key string) error {
	if err := privateDir(to); err != nil {
		return err
	}
	t := &tiles{dir: to, disk: r.disk, dirs: map[string]bool{}}
	before, _, err := readCheckpoint(filepath.Join(to, verify.CheckpointFile), key)
	switch {
	case err == nil && before.Size <= c.Size:
		if err := t.resume(before.Size); err != nil {
			return fmt.Errorf("%w: %w", errTiles, err)
		}
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: published %d records: %v", errTiles, before.Size, err)
	}
	if err := t.take(ctx, r, c.Size); err != nil {
		return err
	}
	root, err := t.finish()
	if err != nil {
		return err
	}
	if root != c.Root {
		return fmt.Errorf("%w of %d records", errTiles, c.Size)
	}
	return nil
}

// tiles is the right edge of a tree in tiles: at each level the hashes of the
// tile that is not full yet.
type tiles struct {
	dir    string
	disk   disk
	size   int64
	levels [][]tlog.Hash
	bundle []byte
	dirs   map[string]bool // in which something was written
}

// resume takes up the edge that was published for size records. The records of
// the bundle that was not full are read again.
func (t *tiles) resume(size int64) error {
	t.size = size - size%verify.TileWidth
	for level := 1; t.size>>(level*verify.TileHeight) > 0; level++ {
		n := t.size >> (level * verify.TileHeight)
		for len(t.levels) <= level {
			t.levels = append(t.levels, nil)
		}
		width := int(n % verify.TileWidth)
		if width == 0 {
			continue
		}
		data, err := readSmall(filepath.Join(t.dir, filepath.FromSlash(verify.TilePath(level, n/verify.TileWidth, width))))
		if err != nil {
			return err
		}
		if t.levels[level], err = verify.Tile(data, width); err != nil {
			return err
		}
	}
	return nil
}

// take adds the records up to size.
func (t *tiles) take(ctx context.Context, r *Reader, size int64) error {
	if t.size >= size {
		return nil
	}
	for e, err := range r.every(ctx, t.size) {
		if err != nil {
			return err
		}
		t.bundle = verify.AppendEntry(t.bundle, e.Raw)
		if t.size%verify.TileWidth == verify.TileWidth-1 {
			if err := t.write(-1, t.size/verify.TileWidth, verify.TileWidth, t.bundle); err != nil {
				return err
			}
			t.bundle = t.bundle[:0]
		}
		if err := t.add(0, t.size, tlog.RecordHash(e.Raw)); err != nil {
			return err
		}
		if t.size++; t.size == size {
			return nil
		}
	}
	return fmt.Errorf("%w: the log has %d records and its checkpoint %d", ErrDamaged, t.size, size)
}

// add adds the hash with index n at a level.
func (t *tiles) add(level int, n int64, h tlog.Hash) error {
	if len(t.levels) == level {
		t.levels = append(t.levels, nil)
	}
	t.levels[level] = append(t.levels[level], h)
	if len(t.levels[level]) < verify.TileWidth {
		return nil
	}
	full := t.levels[level]
	t.levels[level] = nil
	if err := t.write(level, n/verify.TileWidth, verify.TileWidth, join(full)); err != nil {
		return err
	}
	var edge edge
	for _, h := range full {
		edge.push(0, h)
	}
	return t.add(level+1, n/verify.TileWidth, edge.root())
}

// finish writes the partial tiles and returns the root of it all.
func (t *tiles) finish() (tlog.Hash, error) {
	var edge edge
	for level := len(t.levels) - 1; level >= 0; level-- {
		hashes := t.levels[level]
		for _, h := range hashes {
			edge.push(level*verify.TileHeight, h)
		}
		n := t.size >> (level * verify.TileHeight) / verify.TileWidth
		if len(hashes) == 0 {
			continue
		}
		if err := t.write(level, n, len(hashes), join(hashes)); err != nil {
			return tlog.Hash{}, err
		}
	}
	if len(t.bundle) > 0 {
		if err := t.write(-1, t.size/verify.TileWidth, int(t.size%verify.TileWidth), t.bundle); err != nil {
			return tlog.Hash{}, err
		}
	}
	for dir := range t.dirs {
		if err := t.disk.syncDir(dir); err != nil {
			return tlog.Hash{}, err
		}
	}
	return edge.root(), nil
}

// write makes a tile durable; its name becomes so in finish. A full tile
// replaces the partial ones that led to it.
func (t *tiles) write(level int, n int64, width int, data []byte) error {
	path := filepath.Join(t.dir, filepath.FromSlash(verify.TilePath(level, n, width)))
	for dir := filepath.Dir(path); dir != t.dir && !t.dirs[dir]; dir = filepath.Dir(dir) {
		t.dirs[dir] = true
	}
	t.dirs[t.dir] = true
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := swapIn(t.disk, path, data, true); err != nil {
		return err
	}
	if width < verify.TileWidth {
		return nil
	}
	return os.RemoveAll(path + ".p")
}

func join(hashes []tlog.Hash) []byte {
	out := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

// edge is the right edge of a tree whose perfect subtrees arrive from left to
// right, the higher ones first.
type edge struct {
	heights []int
	hashes  []tlog.Hash
}

func (e *edge) push(height int, h tlog.Hash) {
	for last := len(e.heights) - 1; last >= 0 && e.heights[last] == height; last-- {
		h, height = tlog.NodeHash(e.hashes[last], h), height+1
		e.heights, e.hashes = e.heights[:last], e.hashes[:last]
	}
	e.heights, e.hashes = append(e.heights, height), append(e.hashes, h)
}

func (e *edge) root() tlog.Hash {
	if len(e.hashes) == 0 {
		return verify.EmptyRoot
	}
	root := e.hashes[len(e.hashes)-1]
	for i := len(e.hashes) - 2; i >= 0; i-- {
		root = tlog.NodeHash(e.hashes[i], root)
	}
	return root
}
