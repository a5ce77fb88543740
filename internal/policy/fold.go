package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// foldPath returns the components of a clean absolute path, and each of them
// joined with the one below it (".github/workflows"), as the least careful
// file system would read them: in lower case, without the code points that
// HFS+ ignores, without the streams, trailing dots and trailing spaces that
// NTFS drops, and split at backslashes too. A rule that names ".git" thus also
// meets ".GIT", ".g\u200cit", ".git." and ".git::$INDEX_ALLOCATION".
func foldPath(path string) []string {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if !plain(path) {
		segments = strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
		for i, s := range segments {
			segments[i] = foldName(s)
		}
	}
	parts := append(make([]string, 0, 2*len(segments)), segments...)
	for i := 1; i < len(segments); i++ {
		parts = append(parts, segments[i-1]+"/"+segments[i])
	}
	return parts
}

// plain reports whether folding would change nothing.
func plain(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case c >= utf8.RuneSelf, 'A' <= c && c <= 'Z', c == '\\', c == ':', c == ' ':
			return false
		case c == '.' && (i+1 == len(path) || path[i+1] == '/'):
			return false
		}
	}
	return true
}

func foldName(name string) string {
	name, _, _ = strings.Cut(name, ":")
	name = strings.Map(func(r rune) rune {
		if ignorable(r) {
			return -1
		}
		return unicode.ToLower(unicode.ToUpper(r))
	}, name)
	return strings.TrimRight(name, ". ")
}

// ignorable lists what HFS+ leaves out when it compares names.
func ignorable(r rune) bool {
	switch {
	case 0x200c <= r && r <= 0x200f, 0x202a <= r && r <= 0x202e, 0x206a <= r && r <= 0x206f, r == 0xfeff:
		return true
	}
	return false
}
