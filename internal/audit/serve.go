package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/verify"
)

// Handler serves a log's tiles and checkpoint for reading, as C2SP tlog-tiles
// has them. Asked for the checkpoint it publishes the newest one first. It
// serves nothing else, and takes nothing.
func Handler(dir, key string) http.Handler {
	return &served{
		minimum: OpenReader(dir).Minimum,
		publish: func(ctx context.Context) error {
			_, err := PublishTiles(context.WithoutCancel(ctx), dir, key)
			return err
		},
		open: func(name string) (*os.File, error) {
			f, err := realDisk{}.open(filepath.Join(dir, TilesDir, filepath.FromSlash(name)), os.O_RDONLY)
			if err != nil {
				return nil, err
			}
			return f.(realFile).File, nil
		},
	}
}

// CopyHandler serves what was published of a log from a copy of it, as Handler
// does, and writes nothing: dir is that of the log, or of its tiles. Files
// may be anybody's; none outside dir is opened. An error wraps fs.ErrNotExist
// if nothing was published there.
func CopyHandler(dir string) (http.Handler, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("serving a copy: %w", err)
	}
	tiles := ""
	if _, err := root.Lstat(path.Join(TilesDir, verify.CheckpointFile)); err == nil {
		tiles = TilesDir
	}
	open := func(name string) (*os.File, error) { return openIn(root, filepath.FromSlash(name)) }
	tile := func(name string) (*os.File, error) { return open(path.Join(tiles, name)) }
	f, err := tile(verify.CheckpointFile)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serving a copy: %w", err), root.Close())
	}
	minimum := func() (int64, error) {
		f, err := open(minimumFile)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		defer f.Close()
		return minimumIn(f)
	}
	return &served{minimum, func(context.Context) error { return nil }, tile}, f.Close()
}

// openIn opens a regular file below root. The look and the opening are two
// steps: with openFlags the second waits for nobody, whatever came between.
func openIn(root *os.Root, name string) (*os.File, error) {
	info, err := root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		return nil, err
	}
	return root.OpenFile(name, os.O_RDONLY|openFlags, 0)
}

// served is a log as those who follow it see it.
type served struct {
	minimum func() (int64, error) // the first record that may be read
	publish func(ctx context.Context) error
	open    func(name string) (*os.File, error) // of a tile, or the checkpoint
}

func (s *served) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this log is read only", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(req.URL.Path, "/")
	if name == verify.CheckpointFile {
		s.checkpoint(w, req)
		return
	}
	end, ok := tileEnd(name)
	if !ok {
		http.NotFound(w, req)
		return
	}
	minimum, err := s.minimum()
	switch {
	case err != nil:
		http.Error(w, "the log cannot be read", http.StatusInternalServerError)
		return
	case end <= minimum:
		http.Error(w, "past its retention", http.StatusGone)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	s.file(w, req, name)
}

func (s *served) checkpoint(w http.ResponseWriter, req *http.Request) {
	if err := s.publish(req.Context()); err != nil {
		http.Error(w, "the log cannot be published", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	s.file(w, req, verify.CheckpointFile)
}

func (s *served) file(w http.ResponseWriter, req *http.Request, name string) {
	f, err := s.open(name)
	if err != nil {
		http.NotFound(w, req)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.NotFound(w, req)
		return
	}
	http.ServeContent(w, req, "", info.ModTime(), f)
}

// tileEnd returns the index behind the last record that a tile covers. For a
// partial tile of hashes, which shows no record and may be needed for the
// newest root, it is the largest there is: those are never refused. ok is false
// for what names no tile in its one spelling.
func tileEnd(name string) (end int64, ok bool) {
	rest, ok := strings.CutPrefix(name, "tile/")
	kind, index, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return 0, false
	}
	level := -1
	if kind != "entries" {
		n, err := strconv.Atoi(kind)
		if err != nil || n < 0 || n > 7 {
			return 0, false
		}
		level = n
	}
	index, partial, isPartial := strings.Cut(index, ".p/")
	width := verify.TileWidth
	if isPartial {
		n, err := strconv.Atoi(partial)
		if err != nil || n < 1 || n >= verify.TileWidth {
			return 0, false
		}
		width = n
	}
	digits := strings.ReplaceAll(strings.ReplaceAll(index, "/", ""), "x", "")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > 1<<45 || verify.TilePath(level, n, width) != name || path.Clean(name) != name {
		return 0, false
	}
	switch {
	case isPartial && level >= 0:
		return 1 << 62, true
	case isPartial:
		return n<<verify.TileHeight + int64(width), true
	}
	return (n + 1) << (verify.TileHeight * (max(level, 0) + 1)), true
}
