package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/carrel-dev/carrel"
)

// ErrRetained says that a record is past its retention: it is part of the
// tree for ever, and no longer shown.
var ErrRetained = errors.New("past its retention")

type retention struct {
	Minimum int64 `json:"minimum"`
}

const minimumFile = "minimum"

// Minimum returns the index of the first record that may be read.
func (r *Reader) Minimum() (int64, error) {
	f, err := r.open(minimumFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return minimumIn(f)
}

func minimumIn(f io.ReaderAt) (int64, error) {
	raw, err := readPrefix(f, maxHead)
	if err != nil {
		return 0, fmt.Errorf("reading the log's retention: %w", err)
	}
	var m retention
	if err := unseal(raw, &m); err != nil || m.Minimum < 0 {
		return 0, fmt.Errorf("reading the log's retention: %w; set it again with `carrel log retain`", errSeal)
	}
	return m.Minimum, nil
}

// Retain makes the log refuse reads of records before the one with the index
// minimum, and records that. Nothing is removed: the tree stays whole, every
// proof stays right, and a smaller minimum shows the records again.
func (l *Log) Retain(ctx context.Context, minimum int64) error {
	if size, _ := l.Head(); minimum < 0 || minimum > size {
		return fmt.Errorf("setting the log's retention: it has %d records, and %d is not among them", size, minimum)
	}
	r := carrel.Record{Kind: carrel.KindLog, Counts: map[string]int64{"minimum": minimum},
		Note: carrel.Text(fmt.Sprintf("retention: records before %d are no longer shown", minimum))}
	if err := l.Append(ctx, r); err != nil {
		return err
	}
	raw, err := seal(&retention{minimum})
	if err != nil {
		return err
	}
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	return replace(l.store.disk, filepath.Join(l.store.dir, minimumFile), raw)
}

// shown returns the first index from the given one on that may be read.
func (r *Reader) shown(index int64) (int64, error) {
	minimum, err := r.Minimum()
	return max(index, minimum), err
}
