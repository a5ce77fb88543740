package workspace

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/blob"
	"github.com/carrel-dev/carrel/internal/workspace/risk"
)

// rebase reports whether the tree's side moved since the desk's work began.
// Then what was there before is taken from an earlier capture, if one knew
// it; else its digest is empty, so that nothing overwrites it.
func (z *freezer) rebase(it *item, f *carrel.FileChange) (moved bool) {
	s, stamp := it.before, z.stamp
	known, pending := z.pending.Paths[f.Path]
	if pending {
		stamp = known.Stamp
	}
	switch {
	case pending && s.there():
		moved = ctime(&s.st).After(stamp)
	case pending:
		moved = known.Before.Kind != "" && known.Before.Kind != carrel.FileNone
	case it.was != nil:
		stamp = it.was.Lower.time()
		moved = !s.there() || versionOf(&s.st) != it.was.Lower
	case s.there():
		moved = ctime(&s.st).After(stamp)
	}
	if !stamp.Equal(z.stamp) {
		f.Stamp = stamp
	}
	// The ctime of a directory moves with its entries; its mode is compared
	// when it is applied.
	if !moved || s.isDir() {
		return false
	}
	switch {
	case pending && known.Before.Kind != "":
		f.Before = known.Before
	case it.was != nil:
		f.Before = carrel.FileState{Kind: kindOfMode(it.was.Mode), Mode: it.was.Mode & 0o7777, Size: it.was.Size}
	default:
		f.Before.Digest = ""
	}
	if f.Before.Kind != carrel.FileNone && f.Change == carrel.Created {
		f.Change = carrel.Modified
	}
	return true
}

// before reads what the tree has now.
func (z *freezer) before(it *item, f *carrel.FileChange, buf []byte) (risk.Head, error) {
	s := it.before
	b := &f.Before
	b.Kind = s.kind()
	b.Mode = s.permissions()
	switch b.Kind {
	case carrel.FileLink:
		target, err := readlinkAt(s.dir.fd, s.name)
		if isMoved(err) {
			return risk.Head{}, nil // as below
		}
		b.Target, b.Size, b.Digest = carrel.Text(target), int64(len(target)), carrel.DigestBytes([]byte(target))
		return risk.Head{}, err
	case carrel.FileRegular:
	default:
		return risk.Head{}, nil
	}
	b.Size = s.st.Size
	if it.withheld != nil || s.st.Size > z.limits.FileBytes {
		return risk.Head{}, nil
	}
	src, restore, err := openFile(s.dir.fd, s.name, &s.st, false)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errMoved) {
		return risk.Head{}, nil // its digest stays unknown, so that nothing overwrites it
	}
	if err != nil {
		return risk.Head{}, err
	}
	defer restore()
	defer src.Close()
	return z.digestBefore(src, b, buf)
}

func (z *freezer) digestBefore(src *os.File, b *carrel.FileState, buf []byte) (risk.Head, error) {
	if b.Size > maxBefore {
		d, n, err := blob.Hash(src)
		b.Digest, b.Size = d, n
		return risk.Head{}, err
	}
	d, n, head, err := z.put(src, buf)
	b.Digest, b.Size = d, n
	return risk.Head{Bytes: buf[:head], Whole: int64(head) == n}, err
}

const (
	// settleTries bounds how often a file that is being written is read anew.
	settleTries = 5
	// ctimeGrain is as long as two writes may carry the same ctime.
	ctimeGrain = 10 * time.Millisecond
	// maxBefore bounds the contents of the tree that are kept for diffs and
	// merges; of larger ones the digest is enough.
	maxBefore = 1 << 20
	// headBytes is how much of a content risk labels look at.
	headBytes = risk.Looked
)
