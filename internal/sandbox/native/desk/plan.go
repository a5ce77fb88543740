package desk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Plan is what PID 1 is told to build and start, in one message.
type Plan struct {
	Mounts  []Mount
	Program string
	Args    []string
	Env     []string
	Dir     string
	Host    string
	Pty     bool // the program gets a terminal of its own
	Watched bool // programs are executed only once the supervisor says so, one by one
	Handed  bool // binds and overlays come opened from the supervisor, in the plan's order
	Pids    int64
	TmpSize int64 // bytes of each tmpfs that names no size
}

// MountKind is sandbox.MountKind, in a package that must not import it.
type MountKind byte

// The kinds of mount, as in package sandbox.
const (
	Bind MountKind = iota + 1
	Overlay
	Tmpfs
	File
	Dir
	Symlink
	Same
)

// Mount is sandbox.Mount without what only people read.
type Mount struct {
	Kind               MountKind
	Target             string
	Source             string
	Lower, Upper, Work string
	Content            string
	Mode               uint32
	Size               int64
	Writable, NoExec   bool
	Optional           bool
}

// maxPlan bounds a plan: paths and a few small files.
const maxPlan = 16 << 20

// Encode returns the plan as bytes: every string is prefixed by its length,
// so that names of any bytes survive.
func (p *Plan) Encode() []byte {
	w := writer{b: make([]byte, 0, 8192)}
	w.int(int64(len(p.Mounts)))
	for i := range p.Mounts {
		m := &p.Mounts[i]
		w.int(int64(m.Kind))
		w.strings(m.Target, m.Source, m.Lower, m.Upper, m.Work, m.Content)
		w.int(int64(m.Mode))
		w.int(m.Size)
		w.bools(m.Writable, m.NoExec, m.Optional)
	}
	w.strings(p.Program, p.Dir, p.Host)
	w.list(p.Args)
	w.list(p.Env)
	w.bools(p.Pty, p.Watched, p.Handed)
	w.int(p.Pids)
	w.int(p.TmpSize)
	return w.b
}

// DecodePlan reads what Encode wrote.
func DecodePlan(b []byte) (*Plan, error) {
	r := reader{b: b}
	p := &Plan{}
	for range r.count() {
		m := Mount{Kind: MountKind(r.int())}
		r.strings(&m.Target, &m.Source, &m.Lower, &m.Upper, &m.Work, &m.Content)
		m.Mode = uint32(r.int())
		m.Size = r.int()
		r.bools(&m.Writable, &m.NoExec, &m.Optional)
		p.Mounts = append(p.Mounts, m)
	}
	r.strings(&p.Program, &p.Dir, &p.Host)
	p.Args = r.list()
	p.Env = r.list()
	r.bools(&p.Pty, &p.Watched, &p.Handed)
	p.Pids = r.int()
	p.TmpSize = r.int()
	if r.err == nil && len(r.b) != 0 {
		r.err = errors.New("data after the end")
	}
	if r.err != nil {
		return nil, fmt.Errorf("reading the plan: %w", r.err)
	}
	return p, nil
}

func readPlan(fd int) (*Plan, error) {
	f := os.NewFile(uintptr(fd), "plan")
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxPlan))
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	return DecodePlan(b)
}

type writer struct{ b []byte }

func (w *writer) int(v int64) { w.b = binary.LittleEndian.AppendUint64(w.b, uint64(v)) }

func (w *writer) strings(ss ...string) {
	for _, s := range ss {
		w.int(int64(len(s)))
		w.b = append(w.b, s...)
	}
}

func (w *writer) list(ss []string) {
	w.int(int64(len(ss)))
	w.strings(ss...)
}

func (w *writer) bools(vs ...bool) {
	for _, v := range vs {
		c := byte(0)
		if v {
			c = 1
		}
		w.b = append(w.b, c)
	}
}

// reader decodes; after the first error everything is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int64) []byte {
	if r.err != nil || n < 0 || n > int64(len(r.b)) {
		r.err = io.ErrUnexpectedEOF
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) int() int64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b))
}

// count reads the length of a list, each element of which takes a byte or more.
func (r *reader) count() int64 {
	n := r.int()
	if n < 0 || n > int64(len(r.b)) {
		r.err = io.ErrUnexpectedEOF
		return 0
	}
	return n
}

func (r *reader) strings(ss ...*string) {
	for _, s := range ss {
		*s = string(r.take(r.int()))
	}
}

func (r *reader) list() []string {
	var out []string
	for range r.count() {
		var s string
		r.strings(&s)
		if r.err != nil {
			return nil
		}
		out = append(out, s)
	}
	return out
}

func (r *reader) bools(vs ...*bool) {
	for _, v := range vs {
		b := r.take(1)
		*v = b != nil && b[0] == 1
	}
}
