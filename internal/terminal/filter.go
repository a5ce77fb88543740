package terminal

import (
	"bytes"
	"unicode/utf8"
)

// Filter lets through what a terminal program needs to draw and drops what
// would act on the user's machine or make the terminal type. The tables in
// sequences.go say what passes; what they do not name is dropped. A sequence
// is passed on only when it is complete, so nothing can be smuggled in by
// cutting it into pieces, and text is passed on only as valid UTF-8, so that
// eight-bit control characters cannot hide in it.
//
// A Filter is not safe for concurrent use.
type Filter struct {
	// Queries lets questions to the terminal pass whose answers are numbers:
	// only while a program reads them and the terminal is raw.
	Queries bool
	// Dropped, if set, is told the kind of each sequence that was dropped.
	Dropped func(kind string)

	state   state
	pending []byte // of the sequence or character that is not complete yet
	long    bool   // the sequence is longer than maxSequence: it will be dropped
	used    used
}

type state byte

const (
	ground     state = iota
	escape1          // after ESC
	escapeMore       // ESC and intermediates
	control          // CSI
	text             // OSC: passed on after a look
	textEsc          // OSC, after an ESC
	ignored          // DCS, SOS, PM, APC: nothing of it passes
	ignoredEsc       // the same, after an ESC
	character        // inside a UTF-8 character
)

// maxSequence bounds what is kept of a sequence that is not complete. The
// longest a program needs is a link with a long address.
const maxSequence = 4096

// Append appends what may pass of p to out and returns it. What is not
// complete at the end of p waits for the next call.
func (f *Filter) Append(out, p []byte) []byte {
	for i := 0; i < len(p); {
		if f.state == ground {
			n := plain(p[i:])
			out = append(out, p[i:i+n]...)
			if i += n; i == len(p) {
				break
			}
		}
		var again bool
		if out, again = f.step(out, p[i]); !again {
			i++
		}
	}
	return out
}

// plain returns the length of the printable ASCII and line ends at the start
// of p: nearly all of what programs write.
func plain(p []byte) int {
	for i, c := range p {
		if (c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c >= 0x7f {
			return i
		}
	}
	return len(p)
}

// step takes one byte. It returns again if the byte ended something and must
// be looked at once more.
func (f *Filter) step(out []byte, c byte) (_ []byte, again bool) {
	switch f.state {
	case ground:
		return f.begin(out, c), false
	case character:
		return f.utf8(out, c)
	case escape1, escapeMore:
		return f.escape(out, c)
	case control:
		return f.csi(out, c)
	default:
		return f.stringByte(out, c)
	}
}

func (f *Filter) begin(out []byte, c byte) []byte {
	switch {
	case c == 0x1b:
		f.start(escape1)
	case c >= utf8.RuneSelf:
		f.start(character)
		f.pending = append(f.pending, c)
		if !utf8.RuneStart(c) || c >= 0xf8 {
			return f.invalid(out)
		}
	case passesControl(c) || c >= 0x20 && c != 0x7f:
		out = append(out, c)
	default:
		f.drop("control character")
	}
	return out
}

func (f *Filter) start(s state) {
	f.state, f.pending, f.long = s, f.pending[:0], false
}

func (f *Filter) drop(kind string) {
	f.start(ground)
	if f.Dropped != nil {
		f.Dropped(kind)
	}
}

func (f *Filter) keep(c byte) {
	if len(f.pending) >= maxSequence {
		f.long = true
		return
	}
	f.pending = append(f.pending, c)
}

// utf8 collects one character. The controls U+0080 to U+009F are dropped: to
// many terminals they introduce sequences as ESC does.
func (f *Filter) utf8(out []byte, c byte) (_ []byte, again bool) {
	if utf8.RuneStart(c) {
		return f.invalid(out), true
	}
	f.pending = append(f.pending, c)
	if !utf8.FullRune(f.pending) {
		return out, false
	}
	switch r, n := utf8.DecodeRune(f.pending); {
	case r == utf8.RuneError && n == 1:
		return f.invalid(out), false
	case r < 0xa0:
		f.drop("control character")
	default:
		out = append(out, f.pending...)
		f.start(ground)
	}
	return out, false
}

func (f *Filter) invalid(out []byte) []byte {
	f.start(ground)
	return utf8.AppendRune(out, utf8.RuneError)
}

func (f *Filter) escape(out []byte, c byte) (_ []byte, again bool) {
	switch {
	case f.state == escape1 && c == '[':
		f.start(control)
	case f.state == escape1 && c == ']':
		f.start(text)
	case f.state == escape1 && bytes.IndexByte([]byte("PX^_k"), c) >= 0:
		f.start(ignored)
	case c >= 0x20 && c < 0x30:
		f.state = escapeMore
		f.keep(c)
	case c >= 0x30 && c < 0x7f:
		f.keep(c)
		return f.endEscape(out), false
	default:
		f.drop("broken sequence")
		return out, true
	}
	return out, false
}

func (f *Filter) endEscape(out []byte) []byte {
	seq := f.pending
	if f.long || !passesEscape(seq) {
		f.drop("escape " + Escape(string(seq[:min(len(seq), 8)])))
		return out
	}
	f.used.escape(seq)
	out = append(append(out, 0x1b), seq...)
	f.start(ground)
	return out
}

func (f *Filter) csi(out []byte, c byte) (_ []byte, again bool) {
	switch {
	case c >= 0x20 && c < 0x40:
		f.keep(c)
		return out, false
	case c < 0x40 || c >= 0x7f:
		f.drop("broken sequence")
		return out, true
	}
	if c == 'm' && !f.long && len(f.pending) < 64 && onlyParameters(f.pending) {
		// Colours: nearly all of what programs write beside text.
		f.used.any = true
		out = append(append(append(out, "\x1b["...), f.pending...), c)
		f.start(ground)
		return out, false
	}
	f.keep(c)
	seq, ok := parseControl(f.pending)
	switch {
	case f.long || !ok:
		f.drop("broken sequence")
	case seq.passes() == never, seq.passes() == query && !f.Queries:
		f.drop(seq.kind())
	default:
		f.used.control(seq)
		out = append(append(out, "\x1b["...), f.pending...)
		f.start(ground)
	}
	return out, false
}

func onlyParameters(p []byte) bool {
	for _, c := range p {
		if c < '0' || c > ';' {
			return false
		}
	}
	return true
}

// stringByte takes a byte of a string sequence. Such a sequence ends with ST
// (ESC \), an operating system command also with BEL; CAN and SUB abort it.
func (f *Filter) stringByte(out []byte, c byte) (_ []byte, again bool) {
	command := f.state == text || f.state == textEsc
	switch {
	case f.state == textEsc || f.state == ignoredEsc:
		if c != '\\' {
			f.drop("broken sequence")
			f.start(escape1)
			return out, true
		}
		return f.endString(out, command), false
	case c == 0x07 && command:
		return f.endString(out, command), false
	case c == 0x18 || c == 0x1a:
		f.drop("broken sequence")
	case c == 0x1b && command:
		f.state = textEsc
	case c == 0x1b:
		f.state = ignoredEsc
	case command:
		f.keep(c)
	}
	return out, false
}

func (f *Filter) endString(out []byte, command bool) []byte {
	if !command {
		f.drop("device control string")
		return out
	}
	if f.long {
		f.drop("operating system command")
		return out
	}
	clean, how, kind := passCommand(f.pending)
	if how == never || how == query && !f.Queries {
		f.drop(kind)
		return out
	}
	out = append(out, f.used.command(kind, how)...)
	out = append(append(append(out, "\x1b]"...), clean...), "\x1b\\"...)
	f.start(ground)
	return out
}
