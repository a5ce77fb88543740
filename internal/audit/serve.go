package audit

import (
	"context"
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
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this log is read only", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(req.URL.Path, "/")
		if name == verify.CheckpointFile {
			serveCheckpoint(w, req, dir, key)
			return
		}
		end, ok := tileEnd(name)
		if !ok {
			http.NotFound(w, req)
			return
		}
		minimum, err := OpenReader(dir).Minimum()
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
		serveFile(w, req, filepath.Join(dir, TilesDir, filepath.FromSlash(name)))
	})
}

func serveCheckpoint(w http.ResponseWriter, req *http.Request, dir, key string) {
	if _, err := PublishTiles(context.WithoutCancel(req.Context()), dir, key); err != nil {
		http.Error(w, "the log cannot be published", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	serveFile(w, req, filepath.Join(dir, TilesDir, verify.CheckpointFile))
}

func serveFile(w http.ResponseWriter, req *http.Request, name string) {
	f, err := realDisk{}.open(name, os.O_RDONLY)
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
	http.ServeContent(w, req, "", info.ModTime(), f.(realFile).File)
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
