package workspace

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/blob"
	"github.com/carrel-dev/carrel/internal/workspace/risk"
)

// frozen is an item after it was read.
type frozen struct {
	file     carrel.FileChange
	withheld *withheld
}

// freezer turns items into frozen files. It is safe for concurrent use.
type freezer struct {
	store   *blob.Store
	begin   sync.Once // makes batch: a run that altered nothing waits for no disk
	batch   *blob.Batch
	failed  error // of begin
	limits  Limits
	running bool
	stamp   time.Time
	pending pendingWork
	heads   sync.Pool // of *[headBytes]byte

	mu    sync.Mutex // guards what follows
	bytes int64
	out   []frozen
	same  []carrel.FileChange // in the layer, but no change
}

// freeze reads one item, labels it and keeps it, unless it is no change.
func (z *freezer) freeze(it *item) error {
	defer it.after.dir.drop()
	defer it.before.dir.drop()
	f := frozen{withheld: it.withheld}
	f.file = carrel.FileChange{Path: carrel.Text(it.rel), Change: it.change}
	now, was := z.head(), z.head()
	defer z.heads.Put(now)
	defer z.heads.Put(was)
	wasHead, err := z.before(it, &f.file, was[:])
	if err != nil {
		return fmt.Errorf("reading %s of the tree: %w", it.rel, err)
	}
	nowHead, why, err := z.after(it, &f.file, now[:])
	switch {
	case errors.Is(err, fs.ErrNotExist) && z.running:
		return nil // deleted while the agent works; the next capture sees it
	case isMoved(err) && z.running:
		why = &withheld{"unsettled", "it was being replaced while it was read"}
		fallthrough
	case err == nil:
		f.withheld = cmp.Or(f.withheld, why)
	default:
		return fmt.Errorf("reading %s of the desk: %w", it.rel, err)
	}
	if f.withheld == nil && it.change == carrel.Modified && f.file.FileState == f.file.Before {
		z.mu.Lock()
		defer z.mu.Unlock()
		z.same = append(z.same, f.file) // copied up and not altered, or altered alike
		return nil
	}
	moved := z.rebase(it, &f.file)
	if f.file.Change == carrel.Modified && f.file.Digest.Equal(f.file.Before.Digest) && f.file.Mode != f.file.Before.Mode {
		f.file.Change = carrel.ModeChanged
	}
	f.file.Labels = risk.Assess(risk.File{FileChange: f.file, Now: nowHead, Was: wasHead, Attributes: it.foreign, BesideHead: it.besideHead})
	if moved {
		f.label("moved", carrel.SeverityMedium, "it changed in your tree since the agent began; applying does not overwrite that")
	}
	if f.withheld != nil {
		f.label(f.withheld.rule, carrel.SeverityHigh, f.withheld.reason)
		f.file.Decision = carrel.Decision{Verdict: carrel.Deny, Rules: []string{"workspace/" + f.withheld.rule}, Reason: f.withheld.reason}
	}
	return z.keep(f)
}

func (f *frozen) label(name string, severity carrel.Severity, reason string) {
	f.file.Labels = append(f.file.Labels, carrel.Label{Name: name, Severity: severity, Reason: reason})
}

func (z *freezer) keep(f frozen) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if f.file.Kind == carrel.FileRegular && f.withheld == nil {
		z.bytes += f.file.Size
	}
	if z.bytes > z.limits.Bytes {
		return fmt.Errorf("the change holds more than %d MiB; carrel discard throws it away, or let the agent put what it builds outside the workspace: %w", z.limits.Bytes>>20, errTooMany)
	}
	z.out = append(z.out, f)
	return nil
}

func (z *freezer) head() *[headBytes]byte {
	if b, ok := z.heads.Get().(*[headBytes]byte); ok {
		return b
	}
	return new([headBytes]byte)
}

// after reads the desk's side.
func (z *freezer) after(it *item, f *carrel.FileChange, buf []byte) (risk.Head, *withheld, error) {
	s := it.after
	f.Kind, f.Mode = s.kind(), s.permissions()
	switch f.Kind {
	case carrel.FileNone, carrel.FileDir:
		return risk.Head{}, nil, nil
	case carrel.FileSpecial:
		return risk.Head{}, &withheld{"special", "it is a FIFO, socket or device; it was not opened"}, nil
	case carrel.FileLink:
		target, err := readlinkAt(s.dir.fd, s.name)
		f.Target, f.Size, f.Digest = carrel.Text(target), int64(len(target)), carrel.DigestBytes([]byte(target))
		return risk.Head{}, nil, err
	}
	f.Size, f.Nlink = s.st.Size, int(s.st.Nlink)
	if f.Nlink == 1 {
		f.Nlink = 0
	}
	if s.st.Size > z.limits.FileBytes {
		return risk.Head{}, &withheld{"too-large", fmt.Sprintf("it is %d MiB long, more than the %d MiB that are reviewed", s.st.Size>>20, z.limits.FileBytes>>20)}, nil
	}
	if it.withheld != nil {
		return risk.Head{}, nil, nil
	}
	return z.content(it, f, buf)
}

// content copies a file until it held still meanwhile.
func (z *freezer) content(it *item, f *carrel.FileChange, buf []byte) (risk.Head, *withheld, error) {
	s := &it.after
	for range settleTries {
		src, restore, err := openFile(s.dir.fd, s.name, &s.st, true)
		if errors.Is(err, errMoved) && z.running {
			if err := statAt(s.dir.fd, s.name, &s.st); err != nil || s.format() != unix.S_IFREG {
				return risk.Head{}, &withheld{"unsettled", "it was being replaced while it was read"}, err
			}
			continue
		}
		if err != nil {
			return risk.Head{}, nil, err
		}
		var was, now unix.Stat_t
		err = unix.Fstat(int(src.Fd()), &was)
		var head int
		if err == nil {
			f.Digest, f.Size, head, err = z.put(src, buf)
		}
		if err == nil {
			err = unix.Fstat(int(src.Fd()), &now)
		}
		src.Close()
		restore()
		if err != nil {
			return risk.Head{}, nil, err
		}
		still := was.Ctim == now.Ctim && was.Mtim == now.Mtim && was.Size == now.Size && f.Size == now.Size
		if still && (!z.running || time.Since(ctime(&now)) > ctimeGrain) {
			return risk.Head{Bytes: buf[:head], Whole: int64(head) == f.Size}, nil, nil
		}
		if f.Size > z.limits.FileBytes {
			break
		}
		time.Sleep(ctimeGrain / 2)
	}
	return risk.Head{}, &withheld{"unsettled", "it was being written to while it was read"}, nil
}

func (z *freezer) start() error {
	z.begin.Do(func() { z.batch, z.failed = z.store.Batch() })
	return z.failed
}

// put stores a content.
func (z *freezer) put(src *os.File, head []byte) (carrel.Digest, int64, int, error) {
	if err := z.start(); err != nil {
		return "", 0, 0, err
	}
	return z.batch.PutFile(src, head)
}

func (z *freezer) putBytes(b []byte) (carrel.Digest, error) {
	if err := z.start(); err != nil {
		return "", err
	}
	return z.batch.PutBytes(b)
}

func (z *freezer) abort() {
	if z.batch != nil {
		z.batch.Abort()
	}
}
