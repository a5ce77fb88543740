package git

import (
	"bytes"
	"fmt"
)

// Refused says why a path with these attributes cannot be committed without
// running a program of the repository; "" if it can.
func (a Attributes) Refused() string {
	switch {
	case a.Filter == "lfs":
		return "git-lfs keeps it outside the repository (filter=lfs), and Carrel runs no filters"
	case a.Filter != "":
		return fmt.Sprintf("an external filter converts it (filter=%q), and Carrel runs no filters", a.Filter)
	case a.Encoding != "":
		return fmt.Sprintf("git would convert its encoding (working-tree-encoding=%q), which Carrel does not", a.Encoding)
	case a.Ident:
		return "git would collapse its $Id$ keyword (ident), which Carrel does not"
	}
	return ""
}

// Converts reports whether line ends of a file with these attributes may have
// to be converted on their way into the repository.
func (a Attributes) Converts() bool {
	return a.Text == "set" || a.Text == "auto" || a.Text == "" && a.EOL != ""
}

// Clean converts line ends as git does when a file is added. base returns what
// the base commit has at that path, nil if nothing: with text=auto a file that
// was committed with CRLF keeps them.
func (a Attributes) Clean(content []byte, base func() ([]byte, error)) ([]byte, error) {
	if !a.Converts() || !bytes.Contains(content, []byte("\r\n")) {
		return content, nil
	}
	if a.Text == "auto" {
		if isBinary(content) {
			return content, nil
		}
		was, err := base()
		if err != nil {
			return nil, err
		}
		if bytes.Contains(was, []byte("\r\n")) && !isBinary(was) {
			return content, nil
		}
	}
	return bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n")), nil
}

// isBinary is git's guess for text=auto: a NUL, a CR that ends no line, or
// more than one control character in 128.
func isBinary(content []byte) bool {
	printable, other := 0, 0
	for i, c := range content {
		switch {
		case c == 0 || c == '\r' && (i+1 == len(content) || content[i+1] != '\n'):
			return true
		case c == '\r' || c == '\n':
		case c == '\b' || c == '\t' || c == '\x1b' || c == '\f' || c >= ' ' && c != 0x7f:
			printable++
		case c == 0x1a && i+1 == len(content): // the end-of-file mark of old
		default:
			other++
		}
	}
	return printable>>7 < other
}
