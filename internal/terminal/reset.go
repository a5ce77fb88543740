package terminal

import (
	"fmt"
	"maps"
	"slices"
)

// used is what a program has switched and not switched back: what must be
// undone before the terminal is given to somebody else. Undoing what was not
// done has effects of its own (leaving an alternate screen that was not
// entered moves the cursor), so it is kept count of.
type used struct {
	modes   map[int]bool // private modes, as last set
	insert  bool         // modes 4 or 20
	keys    bool         // kitty keyboard or modified keys
	charset bool
	keypad  bool
	link    bool
	cursor  bool // shape
	region  bool
	title   bool // the user's title was put aside
	queries bool
	any     bool
}

// onByDefault are private modes that are set in a terminal nobody touched.
var onByDefault = map[int]bool{7: true, 25: true}

// ownDefault are private modes whose default is the user's choice (a blinking
// cursor), or that are acts and no modes (saving the cursor).
var ownDefault = map[int]bool{12: true, 1048: true}

func (u *used) control(c controlSequence) {
	u.any = true
	u.queries = u.queries || c.passes() == query
	switch {
	case c.private == '?' && (c.final == 'h' || c.final == 'l'):
		if u.modes == nil {
			u.modes = map[int]bool{}
		}
		for _, m := range c.params {
			u.modes[m] = c.final == 'h'
		}
	case c.private == 0 && (c.final == 'h' || c.final == 'l'):
		u.insert = true
	case c.private != 0 && c.final != 'J' && c.final != 'K':
		u.keys = true
	case c.inter == " ":
		u.cursor = true
	case c.final == 'r':
		u.region = true
	}
}

func (u *used) escape(seq []byte) {
	u.any = true
	switch {
	case string(seq) == "c":
		*u = used{any: true, queries: u.queries}
	case len(seq) == 2:
		u.charset = true
	default:
		u.keypad = u.keypad || seq[0] == '='
	}
}

// command returns what must be written before the command: the user's title is
// put aside before it is changed for the first time.
func (u *used) command(kind string, how passage) (before string) {
	u.any = true
	u.queries = u.queries || how == query
	u.link = u.link || kind == "OSC 8"
	if (kind == "OSC 0" || kind == "OSC 1" || kind == "OSC 2") && !u.title {
		u.title = true
		return "\x1b[22;0t"
	}
	return ""
}

// Reset returns what gives the terminal back as it was found, and forgets
// what was switched: a program that is continued switches it again.
func (f *Filter) Reset() []byte {
	u := f.used
	f.used = used{queries: u.queries}
	f.start(ground)
	if !u.any {
		return nil
	}
	var out []byte
	for _, m := range slices.Sorted(maps.Keys(u.modes)) {
		if u.modes[m] != onByDefault[m] && !ownDefault[m] {
			out = fmt.Appendf(out, "\x1b[?%d%c", m, map[bool]byte{true: 'h', false: 'l'}[onByDefault[m]])
		}
	}
	for _, r := range []struct {
		done bool
		undo string
	}{
		{u.region, "\x1b7\x1b[r\x1b8"}, // setting the region moves the cursor
		{u.insert, "\x1b[4l\x1b[20l"},
		{u.keys, "\x1b[<99u\x1b[=0u\x1b[>4m"},
		{u.charset, "\x1b(B\x1b)B\x0f"},
		{u.keypad, "\x1b>"},
		{u.link, "\x1b]8;;\x1b\\"},
		{u.cursor, "\x1b[0 q"},
		{u.title, "\x1b[23;0t"},
		{true, "\x1b[0m"},
	} {
		if r.done {
			out = append(out, r.undo...)
		}
	}
	return out
}

// Asked reports whether a question was passed to the terminal, whose answer
// may still be on its way.
func (f *Filter) Asked() bool { return f.used.queries }
