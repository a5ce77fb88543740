package terminal

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// Progress is one line of a terminal that is written over and at last wiped.
// On anything but a terminal it shows nothing. It is not safe for concurrent
// use.
type Progress struct {
	out   *os.File
	shown bool
	last  time.Time
}

// NewProgress returns a progress line on f, usually standard error.
func NewProgress(f *os.File) *Progress {
	if f == nil || !term.IsTerminal(int(f.Fd())) {
		return &Progress{}
	}
	return &Progress{out: f}
}

// progressPause is how long a line stands: faster than this nobody reads, and
// work must not wait for a terminal.
const progressPause = 50 * time.Millisecond

// Show writes the line over the one before, cut to the width of the terminal.
// Lines that come too fast are left out.
func (p *Progress) Show(line string) {
	if p.out == nil || time.Since(p.last) < progressPause {
		return
	}
	p.last, p.shown = time.Now(), true
	fmt.Fprintf(p.out, "\r%s\x1b[K", shorten(Escape(line), Width(p.out)-1))
}

// Done wipes the line.
func (p *Progress) Done() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// barWidth is how many steps a bar has.
const barWidth = 30

// Bar draws how much of total is done.
func Bar(done, total int64) string {
	if total <= 0 {
		return ""
	}
	done = min(max(done, 0), total)
	n := int(done * barWidth / total)
	return fmt.Sprintf("[%s%s] %d%%", strings.Repeat("#", n), strings.Repeat(".", barWidth-n), done*100/total)
}
