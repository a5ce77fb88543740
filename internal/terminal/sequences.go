package terminal

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// passage says how far a sequence passes.
type passage byte

const (
	never passage = iota
	query         // only while a program reads the answer
	always
)

// passesControl: bell, back space, tab, line feeds, carriage return and the
// two character set shifts. ENQ, which makes terminals type, is not there.
func passesControl(c byte) bool { return c >= 0x07 && c <= 0x0f }

// passesEscape: save and restore the cursor, keypad modes, index, next line,
// tab stop, reverse index, reset; character sets of 94 characters; UTF-8.
// Leaving UTF-8 (ESC % @) is not there: it would change what bytes mean.
func passesEscape(seq []byte) bool {
	if len(seq) == 1 {
		return bytes.IndexByte([]byte("78=>DEHMc"), seq[0]) >= 0
	}
	if len(seq) != 2 {
		return false
	}
	switch seq[0] {
	case '(', ')', '*', '+':
		return bytes.IndexByte([]byte("0AB"), seq[1]) >= 0
	case '%':
		return seq[1] == 'G'
	}
	return false
}

// controlSequence is a parsed CSI: ESC [ private parameters intermediates final.
type controlSequence struct {
	private byte // one of < = > ? or 0
	params  []int
	plain   bool // no parameter has sub-parameters (colons)
	inter   string
	final   byte
}

// maxParameter is far above any screen; larger numbers only make terminals busy.
const maxParameter = 65535

func parseControl(seq []byte) (c controlSequence, ok bool) {
	c.final, seq = seq[len(seq)-1], seq[:len(seq)-1]
	if len(seq) > 0 && seq[0] >= 0x3c {
		c.private, seq = seq[0], seq[1:]
	}
	n := bytes.IndexFunc(seq, func(r rune) bool { return r < 0x30 })
	if n < 0 {
		n = len(seq)
	}
	c.inter, seq = string(seq[n:]), seq[:n]
	if strings.ContainsFunc(c.inter, func(r rune) bool { return r >= 0x30 }) {
		return c, false
	}
	c.plain = bytes.IndexByte(seq, ':') < 0
	if len(seq) == 0 {
		return c, true
	}
	for p := range strings.SplitSeq(strings.ReplaceAll(string(seq), ":", ";"), ";") {
		v, err := strconv.Atoi("0" + p)
		if err != nil || v > maxParameter {
			return c, false
		}
		c.params = append(c.params, v)
	}
	return c, true
}

// param returns the i-th parameter, 0 if it is not there.
func (c controlSequence) param(i int) int {
	if i < len(c.params) {
		return c.params[i]
	}
	return 0
}

// only reports whether there is one parameter and it is one of these.
func (c controlSequence) only(values ...int) bool {
	return len(c.params) <= 1 && c.plain && slices.Contains(values, c.param(0))
}

// kind names the sequence for people: "CSI ? n".
func (c controlSequence) kind() string {
	name := "CSI "
	if c.private != 0 {
		name += string(c.private) + " "
	}
	return name + strings.TrimSpace(c.inter+" "+string(c.final))
}

// passes is the table of control sequences, by private marker, intermediates
// and final byte.
func (c controlSequence) passes() passage {
	key := c.inter + string(c.final)
	if c.private != 0 {
		key = string(c.private) + key
	}
	switch key {
	case "@", "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "P", "S", "T", "X", "Z",
		"`", "a", "b", "d", "e", "f", "g", "m", "r", "s", "u", // cursor, erase, scroll, colours
		"?J", "?K", // selective erase
		" q", // cursor shape
		"!p": // soft reset
		return always
	case "h", "l":
		return when(always, c.all(4, 20, 34)) // insert, new line, cursor of screen
	case "?h", "?l":
		return when(always, c.all(screenModes...))
	case "<u", "=u", ">u": // kitty keyboard: pop, set, push
		return always
	case ">m", ">n": // keys with modifiers
		return when(always, c.param(0) == 4 && len(c.params) <= 2)
	case "t":
		return c.window()
	case "n":
		return when(query, c.only(6)) // where is the cursor
	case "c", ">c":
		return when(query, c.only(0)) // what are you
	case "?u", "?m", ">q", "?$p":
		return query // kitty keyboard, keys with modifiers, version, is a mode set
	case "?n":
		return when(query, c.only(6, 996)) // cursor and page, dark or light
	}
	return never
}

// window: sizes are told, and the title is kept and put back. Moving and
// resizing windows and telling titles, which would type them, is not there.
func (c controlSequence) window() passage {
	switch c.param(0) {
	case 14, 16, 18:
		return when(query, c.plain && len(c.params) <= 2)
	case 22, 23:
		return when(always, c.plain && len(c.params) <= 3)
	}
	return never
}

func when(p passage, ok bool) passage {
	if ok {
		return p
	}
	return never
}

// all reports whether there are parameters and every one is among these.
func (c controlSequence) all(values ...int) bool {
	for _, p := range c.params {
		if !slices.Contains(values, p) {
			return false
		}
	}
	return len(c.params) > 0 && c.plain
}

// screenModes are the private modes programs may switch. Not there, on
// purpose: 2 (leaves ANSI), 3 and 40 (window width), 8, 66 and the keyboard
// locks, 5522 (clipboard).
var screenModes = []int{
	1, 5, 6, 7, 12, 25, 45, 47, 1047, 1048, 1049, // cursor keys, screen, wrap, cursor, other screen
	9, 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1015, 1016, // mouse
	1004, 1034, // focus, meta key
	2004, 2026, 2027, 2031, 2048, // paste, whole frames, graphemes, colour scheme, size in band
}

const (
	maxTitle  = 200  // characters of a title or notice
	maxTarget = 2048 // bytes of a link
)

// passCommand is the table of operating system commands. It returns the
// command as it may pass.
func passCommand(seq []byte) (clean string, how passage, kind string) {
	number, rest, _ := strings.Cut(string(seq), ";")
	kind = "OSC " + Escape(number[:min(len(number), 6)])
	switch number {
	case "0", "1", "2":
		return number + ";" + shorten(rest, maxTitle), always, kind
	case "8":
		return link(rest), always, kind
	case "10", "11", "12":
		return number + ";?", when(query, rest == "?"), kind
	case "4":
		n, err := strconv.ParseUint(strings.TrimSuffix(rest, ";?"), 10, 8)
		return fmt.Sprintf("4;%d;?", n), when(query, err == nil && strings.HasSuffix(rest, ";?")), kind
	case "9":
		return notice(rest, kind)
	case "777":
		body, ok := strings.CutPrefix(rest, "notify;")
		return "777;notify;" + shorten(body, maxTitle), when(always, ok), kind
	case "52":
		return "", never, "clipboard (OSC 52)"
	}
	return "", never, kind
}

// notice passes progress (9;4;state;value) and plain notices. Other numbers
// are commands of one terminal program, which runs macros with them.
func notice(rest, kind string) (string, passage, string) {
	if progress, ok := strings.CutPrefix(rest, "4;"); ok {
		return "9;4;" + progress, when(always, len(progress) < 8 && strings.Trim(progress, "0123456789;") == ""), kind
	}
	numbered := rest == "" || rest[0] >= '0' && rest[0] <= '9'
	return "9;" + shorten(rest, maxTitle), when(always, !numbered), kind
}

// link passes web links. Others would start programs of the host when
// clicked; their text stays, without the link.
func link(rest string) string {
	_, target, _ := strings.Cut(rest, ";")
	web := strings.HasPrefix(target, "https://") || strings.HasPrefix(target, "http://")
	printable := !strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	if !web || !printable || len(target) > maxTarget {
		return "8;;"
	}
	return "8;;" + target
}

// shorten returns s without hidden characters, cut to n characters.
func shorten(s string, n int) string {
	var b strings.Builder
	for _, r := range s {
		if n == 0 {
			break
		}
		if r != utf8.RuneError && !Hidden(r) {
			b.WriteRune(r)
			n--
		}
	}
	return b.String()
}
