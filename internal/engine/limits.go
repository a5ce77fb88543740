//go:build linux

package engine

import "fmt"

// limitLines says what bounds a run. Each limit is one of this run alone, not
// of the desk, which further runs go on filling: a desk that is full could not
// be worked at any more, not even to make room.
func (d dryRun) limitLines() []string {
	var out []string
	add := func(set bool, format string, args ...any) {
		if set {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	l := d.Limits
	add(l.Memory > 0, "memory  %s", bytesText(l.Memory))
	add(l.Pids > 0, "pids    %d", l.Pids)
	add(l.Wall > 0, "wall    %s", l.Wall)
	add(l.Disk > 0, "disk    %s added", bytesText(l.Disk))
	add(d.Upload > 0, "upload  %s", bytesText(d.Upload))
	return out
}

// endedBy says which limit ended the run, and how much it was.
func (v *visit) endedBy() string {
	l := v.limits
	switch cause := v.result.EndedBy; {
	case cause == "memory" && l.Memory > 0:
		return "memory, more than " + bytesText(l.Memory)
	case cause == "wall" && l.Wall > 0:
		return "wall, longer than " + l.Wall.String()
	case cause == "disk" && l.Disk > 0:
		return "disk, more than " + bytesText(l.Disk) + " added, or hardly any space left"
	case cause == "disk":
		return "disk, hardly any space left"
	default:
		return cause
	}
}
