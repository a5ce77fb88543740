package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// Recovery says what Recover found and did.
type Recovery struct {
	Size     int64  // records the log has now, the record about the recovery included
	Known    int64  // records the second place knew of
	Cut      int64  // bytes that were no records, moved aside
	Accepted string // why acceptance was needed; empty: it was not
}

// Recover reads the whole log, makes hashes, index and tail again, and records
// that it did. A log that is behind the second place, has another past than
// it, or is damaged is refused unless acceptLoss is set: then what can be read
// up to the first damage is the log from here on, what cannot and what the
// second place knew are kept beside it, and a record says so. It must be
// called while nobody has the log open.
func Recover(ctx context.Context, o Options, acceptLoss bool) (rec Recovery, err error) {
	s, keys, err := openStore(o)
	if err != nil {
		return rec, fmt.Errorf("recovering the log: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.lock.take(ctx); err != nil {
		return rec, fmt.Errorf("recovering the log: %w", err)
	}
	if err := s.recover(keys, acceptLoss, &rec); err != nil {
		return rec, fmt.Errorf("recovering the log: %w", err)
	}
	return rec, nil
}

func (s *store) recover(keys keyring, acceptLoss bool, rec *Recovery) error {
	private, err := keys.read(privateKeyFile)
	if err != nil {
		return err
	}
	public, err := keys.mend(private)
	if err != nil {
		return err
	}
	mark, _, err := s.second.read()
	if err != nil {
		return err
	}
	signed, _, err := s.second.checkpoint(public)
	if err != nil && !acceptLoss {
		return err
	}
	rec.Known = max(mark.Size, signed.Size)
	if !acceptLoss {
		s.floor = rec.Known
	}
	loss := s.reread(acceptLoss, rec)
	for _, past := range []headMark{mark, {signed.Size, signed.Root[:]}} {
		if loss == nil && past.Size > 0 {
			loss = s.contains(past.Size, tlog.Hash(past.Root), s.second.path)
		}
	}
	if loss != nil {
		if !acceptLoss {
			return loss
		}
		rec.Accepted = loss.Error()
		if err := s.second.setAside(s.disk, s.tail.Size); err != nil {
			return err
		}
		if err := s.setCosignedAside(); err != nil {
			return err
		}
	}
	if _, err := s.settleKey(keys, private); err != nil {
		return fmt.Errorf("finishing a change of the log's key: %w", err)
	}
	s.note(map[string]int64{"known": rec.Known, "size": s.tail.Size, "bytes": rec.Cut},
		"recovered on request: accepted %q", rec.Accepted)
	if err := s.commit(nil, func() {}, func() {}); err != nil {
		return err
	}
	if err := s.side.sync(); err != nil {
		return err
	}
	rec.Size = s.tail.Size
	fresh, err := s.checkpoint(keys)
	if err != nil {
		return err
	}
	return s.keepCheckpoint(fresh)
}

// reread takes in the log from its first record. It returns what keeps the
// log from being whole; with acceptLoss it goes on up to there.
func (s *store) reread(acceptLoss bool, rec *Recovery) error {
	if err := s.openSegment(0, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s.tail, s.tree = tail{Version: 1}, verify.Tree{}
	if err := errors.Join(s.side.hashes.Truncate(0), s.side.index.Truncate(0)); err != nil {
		return err
	}
	err := s.readAll()
	if errors.Is(err, ErrDamaged) && acceptLoss {
		if cutErr := s.cutRest(rec); cutErr != nil {
			return cutErr
		}
	}
	return errors.Join(err, s.settle())
}

// cutRest moves everything behind the last whole record aside.
func (s *store) cutRest(rec *Recovery) error {
	segments, err := verify.Segments(s.dir)
	if err != nil {
		return err
	}
	for _, seg := range segments {
		if seg.First > s.segment {
			if err := s.disk.rename(seg.Path, seg.Path+".cut"); err != nil {
				return err
			}
		}
	}
	info, err := s.seg.Stat()
	if err != nil {
		return err
	}
	if rec.Cut = info.Size() - s.tail.Offset; rec.Cut == 0 {
		return nil
	}
	keep, err := s.disk.open(filepath.Join(s.dir, fmt.Sprintf("torn-%d-%d", s.tail.Size, s.tail.Offset)), os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer keep.Close()
	from := io.NewSectionReader(s.seg, s.tail.Offset, rec.Cut)
	if _, err := io.Copy(io.NewOffsetWriter(keep, 0), from); err != nil {
		return err
	}
	if err := keep.sync(); err != nil {
		return err
	}
	return errors.Join(s.side.flush(), s.seg.Truncate(s.tail.Offset))
}

// setAside keeps what the second place knew and clears it.
func (p *second) setAside(d disk, size int64) error {
	to := fmt.Sprintf("%s.refused-%d-%s", p.path, size, carrel.NewRecordID()[4:])
	if err := d.rename(p.path, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	head, err := readPrefix(p.head, maxHead)
	if err != nil {
		return err
	}
	if err := replace(d, to+".head", head); err != nil {
		return err
	}
	return p.head.Truncate(0)
}
