package verify

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree computes the Merkle tree of RFC 6962 as records arrive. It holds only
// the roots of the perfect subtrees, largest first, so it stays small however
// long the log is. The zero value is the empty tree.
type Tree struct {
	size  int64
	peaks []tlog.Hash
}

// Size returns how many records the tree has.
func (t *Tree) Size() int64 { return t.size }

// Clone returns a copy that can grow on its own.
func (t *Tree) Clone() Tree { return Tree{t.size, append([]tlog.Hash(nil), t.peaks...)} }

// Peaks returns a copy of the perfect subtrees' roots, largest first.
func (t *Tree) Peaks() []tlog.Hash { return append([]tlog.Hash(nil), t.peaks...) }

// NewTree returns the tree of the given size with the given peaks.
func NewTree(size int64, peaks []tlog.Hash) (Tree, error) {
	want := 0
	for n := size; n > 0; n &= n - 1 {
		want++
	}
	if size < 0 || len(peaks) != want {
		return Tree{}, fmt.Errorf("a tree of %d records has %d peaks, not %d", size, want, len(peaks))
	}
	return Tree{size, append([]tlog.Hash(nil), peaks...)}, nil
}

// Append adds a record by its leaf hash and appends the hashes that became
// known to stored, in the order in which tlog.StoredHashIndex counts them.
func (t *Tree) Append(leaf tlog.Hash, stored []tlog.Hash) []tlog.Hash {
	stored = append(stored, leaf)
	h := leaf
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.peaks) - 1
		h = tlog.NodeHash(t.peaks[last], h)
		t.peaks = t.peaks[:last]
		stored = append(stored, h)
	}
	t.peaks = append(t.peaks, h)
	t.size++
	return stored
}

// Root returns the root hash.
func (t *Tree) Root() tlog.Hash {
	if t.size == 0 {
		return EmptyRoot
	}
	last := len(t.peaks) - 1
	root := t.peaks[last]
	for i := last - 1; i >= 0; i-- {
		root = tlog.NodeHash(t.peaks[i], root)
	}
	return root
}

// TreeAt reads the tree of the first size records from stored hashes.
func TreeAt(size int64, r tlog.HashReader) (Tree, error) {
	var index []int64
	for start, bit := int64(0), 62; bit >= 0; bit-- {
		if size&(1<<bit) != 0 {
			index = append(index, tlog.StoredHashIndex(bit, start>>bit))
			start += 1 << bit
		}
	}
	if len(index) == 0 {
		return Tree{}, nil
	}
	peaks, err := r.ReadHashes(index)
	if err != nil {
		return Tree{}, fmt.Errorf("reading the tree of %d records: %w", size, err)
	}
	return NewTree(size, peaks)
}
