package review

import "github.com/carrel-dev/carrel"

// style colours Carrel's own words, or leaves them alone.
type style struct{ on bool }

func (s style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(t string) string   { return s.paint("1", t) }
func (s style) dim(t string) string    { return s.paint("2", t) }
func (s style) red(t string) string    { return s.paint("31", t) }
func (s style) green(t string) string  { return s.paint("32", t) }
func (s style) yellow(t string) string { return s.paint("33", t) }
func (s style) cyan(t string) string   { return s.paint("36", t) }

// severity is a severity in its colour, as wide as the widest.
func (s style) severity(v carrel.Severity, text string) string {
	switch v.Rank() {
	case 0:
		return s.dim(text)
	case 1:
		return s.cyan(text)
	case 2:
		return s.yellow(text)
	case 3:
		return s.red(text)
	}
	return s.paint("1;31", text)
}
