package native

import (
	"crypto/sha256"
	"io"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

const (
	// soonHashed is the size of a program that is hashed while it waits. A
	// larger one is hashed beside it, and waited for only by who asks.
	soonHashed = 8 << 20
	maxProgram = 1 << 30 // bytes of a program that is hashed
	// maxDigests bounds what is remembered; a desk that makes programs by the
	// thousand has them hashed again.
	maxDigests = 4096
)

// digests remembers the digests of programs by what changes when they do.
type digests struct {
	mu sync.Mutex
	of map[fileKey]*digest
}

type fileKey struct {
	dev, ino          uint64
	size              int64
	modified, changed int64 // nanoseconds
}

// digest is of one state of one program. value is set when done is closed; it
// is empty where the program cannot be read.
type digest struct {
	done  chan struct{}
	value carrel.Digest
}

func (d *digest) wait() carrel.Digest {
	<-d.done
	return d.value
}

// now is the digest as far as it is known.
func (d *digest) now() carrel.Digest {
	select {
	case <-d.done:
		return d.value
	default:
		return ""
	}
}

// noDigest is of what is no plain file, or too large.
var noDigest = func() *digest {
	d := &digest{done: make(chan struct{})}
	close(d.done)
	return d
}()

// get begins to hash a program that is not known in its present state.
func (ds *digests) get(program *os.File) *digest {
	var st unix.Stat_t
	if unix.Fstat(int(program.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxProgram {
		return noDigest
	}
	d, known := ds.at(fileKey{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()})
	if known {
		return d
	}
	f, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(program.Fd())))
	if err != nil {
		close(d.done)
		return d
	}
	if st.Size <= soonHashed {
		d.compute(f)
	} else {
		go d.compute(f)
	}
	return d
}

// at returns the digest of a state of a file, and whether somebody computes it.
func (ds *digests) at(k fileKey) (d *digest, known bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d, known = ds.of[k]; known {
		return d, true
	}
	if ds.of == nil || len(ds.of) >= maxDigests {
		ds.of = map[fileKey]*digest{}
	}
	d = &digest{done: make(chan struct{})}
	ds.of[k] = d
	return d, false
}

func (d *digest) compute(f *os.File) {
	defer close(d.done)
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxProgram)); err == nil {
		d.value = carrel.DigestHash(h)
	}
}
