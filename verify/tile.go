package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// A tile of C2SP tlog-tiles has TileWidth hashes when it is full, and a bundle
// as many entries.
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
)

// TilePath returns the path of a tile below a log's prefix: the tile with
// index n at a level of hashes, or of entries for level −1. A width below
// TileWidth names a partial one.
func TilePath(level int, n int64, width int) string {
	dir := "tile/entries"
	if level >= 0 {
		dir = "tile/" + strconv.Itoa(level)
	}
	index := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		index = fmt.Sprintf("x%03d/%s", n%1000, index)
	}
	if width < TileWidth {
		return fmt.Sprintf("%s/%s.p/%d", dir, index, width)
	}
	return dir + "/" + index
}

// AppendEntry appends a record to an entry bundle.
func AppendEntry(bundle, record []byte) []byte {
	return append(binary.BigEndian.AppendUint16(bundle, uint16(len(record))), record...)
}

// Entries returns the records of an entry bundle, which has exactly width of
// them and nothing else.
func Entries(bundle []byte, width int) ([][]byte, error) {
	if width < 1 || width > TileWidth {
		return nil, errors.New("entry bundle of a width that none has")
	}
	var out [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(out) == width {
			return nil, errors.New("entry bundle does not hold what its width says")
		}
		n := int(binary.BigEndian.Uint16(bundle))
		if n > len(bundle)-2 || n > MaxRecord {
			return nil, errors.New("entry bundle with an entry that is not whole, or too long")
		}
		out = append(out, bundle[2:2+n])
		bundle = bundle[2+n:]
	}
	if len(out) != width {
		return nil, errors.New("entry bundle does not hold what its width says")
	}
	return out, nil
}

// Tile returns the hashes of a tile, which has exactly width of them.
func Tile(data []byte, width int) ([]tlog.Hash, error) {
	if width < 1 || width > TileWidth || len(data) != width*tlog.HashSize {
		return nil, errors.New("tile does not hold what its width says")
	}
	out := make([]tlog.Hash, width)
	for i := range out {
		copy(out[i][:], data[i*tlog.HashSize:])
	}
	return out, nil
}
