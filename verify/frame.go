package verify

import (
	"errors"
	"io"
)

// oneFrame passes on a stream of Zstandard that is one frame and nothing else
// (RFC 8878, 3.1). A decoder reads over frames that are to be skipped, and on
// to the next one: bytes of an archive that belong to none of its files.
type oneFrame struct {
	r     io.Reader
	want  int    // bytes of the part that is being gathered
	part  []byte // what there is of it
	next  func(*oneFrame) error
	skip  int  // bytes to pass on unseen
	check bool // a checksum follows the last block
	ended bool
}

func newOneFrame(r io.Reader) *oneFrame {
	return &oneFrame{r: r, want: 5, next: (*oneFrame).header}
}

var errFrames = errors.New("it is not one frame of Zstandard and nothing else")

// Read implements io.Reader.
func (f *oneFrame) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		switch {
		case f.skip > 0:
			k := min(f.skip, len(rest))
			f.skip, rest = f.skip-k, rest[k:]
		case f.ended:
			return 0, errFrames
		default:
			k := min(f.want-len(f.part), len(rest))
			f.part, rest = append(f.part, rest[:k]...), rest[k:]
			if len(f.part) < f.want {
				continue
			}
			if err := f.next(f); err != nil {
				return 0, err
			}
			f.part = f.part[:0]
		}
	}
	return n, err
}

// header reads the magic number and the descriptor, and passes over the rest of
// the frame's header.
func (f *oneFrame) header() error {
	if string(f.part[:4]) != "\x28\xb5\x2f\xfd" {
		return errFrames
	}
	d := f.part[4]
	single := d&0x20 != 0
	f.skip = []int{0, 2, 4, 8}[d>>6] + []int{0, 1, 2, 4}[d&3]
	if single && d>>6 == 0 || !single {
		f.skip++ // a content size of one byte, or else the window
	}
	f.check = d&4 != 0
	f.want, f.next = 3, (*oneFrame).block
	return nil
}

// block reads the header of a block and passes over the block.
func (f *oneFrame) block() error {
	h := int(f.part[0]) | int(f.part[1])<<8 | int(f.part[2])<<16
	if f.skip = h >> 3; h>>1&3 == 1 {
		f.skip = 1 // one byte, repeated
	}
	if f.ended = h&1 != 0; f.ended && f.check {
		f.skip += 4
	}
	return nil
}
