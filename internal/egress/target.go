package egress

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// target is the path and query of a request in their one spelling: what
// policy sees, what is recorded and what is sent on.
type target struct {
	path  string // escaped; starts with a slash, or is "*"
	query string // without the question mark
	mark  bool   // there is a question mark, though nothing may follow it
}

// String is the target as it is sent.
func (t target) String() string {
	if t.mark {
		return t.path + "?" + t.query
	}
	return t.path
}

// apply makes u ask for t.
func (t target) apply(u *url.URL) {
	if plain, err := url.PathUnescape(t.path); err == nil { // canonicalTarget has undone it before
		u.Path, u.RawPath = plain, t.path
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = t.query, t.mark && t.query == "", "", ""
}

// canonicalTarget returns the one spelling of what u asks for. Escapes that
// mean nothing are undone, the others are in upper case. Whatever two servers
// could take for two different places is refused: segments that climb or
// stay, however often they are escaped, empty segments, backslashes, bytes
// that are no text.
func canonicalTarget(u *url.URL) (t target, err error) {
	if u.Path == "*" && u.RawQuery == "" {
		return target{path: "*"}, nil
	}
	if t.path, err = canonicalPath(u.EscapedPath()); err != nil {
		return t, err
	}
	t.query, t.mark = u.RawQuery, u.RawQuery != "" || u.ForceQuery
	for i := range len(t.query) {
		if c := t.query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return t, errors.New("the query holds characters that must be escaped")
		}
	}
	return t, nil
}

func canonicalPath(escaped string) (string, error) {
	if !strings.HasPrefix(escaped, "/") {
		return "", errors.New("the path does not start with a slash")
	}
	plain, err := url.PathUnescape(escaped)
	switch {
	case err != nil:
		return "", errors.New("the path holds a broken escape")
	case !utf8.ValidString(plain):
		return "", errors.New("the path is not UTF-8")
	case strings.ContainsFunc(plain, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return "", errors.New("the path holds a backslash or a control character")
	case strings.Contains(escaped, "//"):
		return "", errors.New("the path holds an empty segment")
	case climbs(plain):
		return "", errors.New("the path holds a segment that leads elsewhere (. or ..)")
	}
	return respell(escaped), nil
}

// climbs reports whether a path, its escapes undone once, has a segment that a
// server may take for the same or the directory above.
func climbs(path string) bool {
	path = norm.NFKC.String(path) // wide and small dots and slashes are plain ones to some
	for range 3 {                 // escaped up to three times more
		for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
			name, _, _ := strings.Cut(segment, ";") // parameters, which some servers drop first
			if name = strings.Trim(name, " "); name == "." || name == ".." {
				return true
			}
		}
		plain, err := url.PathUnescape(path)
		if err != nil || plain == path {
			return false
		}
		path = plain
	}
	return false
}

// respell undoes the escapes of characters that need none and writes the
// others in upper case (RFC 3986, 6.2.2); what must be escaped and is not,
// is.
func respell(escaped string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for i := 0; i < len(escaped); i++ {
		c, coded := escaped[i], false
		if c == '%' {
			c, coded = unhex(escaped[i+1])<<4|unhex(escaped[i+2]), true
			i += 2
		}
		if unreserved(c) || !coded && strings.IndexByte("/!$&'()*+,;=:@", c) >= 0 {
			out.WriteByte(c)
			continue
		}
		out.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return out.String()
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// unhex reads a digit that was checked.
func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
