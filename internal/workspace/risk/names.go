package risk

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/carrel-dev/carrel"
)

// MeansGit reports whether some file system, or git itself, takes a name for
// .git: folded case, Windows' short names, streams and trailing dots, and
// characters that HFS+, or ext4 and F2FS where they fold case, ignore.
func MeansGit(name string) bool {
	s := strings.Map(func(r rune) rune {
		if ignored(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	s, _, _ = strings.Cut(s, ":") // an NTFS stream of it
	s = strings.TrimRight(s, " .")
	if s == ".git" {
		return true
	}
	short, number, ok := strings.Cut(s, "~")
	return ok && short == "git" && number != "" && strings.Trim(number, "0123456789") == ""
}

// bare recognises what makes git take a directory of any name for a
// repository: a HEAD, and what git runs or obeys beside one. Whoever runs git
// in there runs what its config names.
func bare(f File, out *collector) {
	if f.BesideHead && !f.gone() {
		out.add("bare-repository", carrel.SeverityHigh, "with the HEAD beside it git takes its directory for a repository, whose settings and hooks run programs")
	}
	if f.gone() || path.Base(f.lower()) != "head" {
		return
	}
	head := strings.TrimSpace(string(f.Now.Bytes[:min(len(f.Now.Bytes), 256)]))
	if f.Kind == carrel.FileLink {
		head = "ref: " + string(f.Target)
	}
	to, symbolic := strings.CutPrefix(head, "ref:")
	digest := (len(head) == 40 || len(head) == 64) && strings.Trim(strings.ToLower(head), "0123456789abcdef") == ""
	if digest || symbolic && strings.HasPrefix(strings.TrimSpace(to), "refs/") {
		out.add("bare-repository", carrel.SeverityHigh, "with it git takes its directory for a repository, whose settings and hooks run programs")
	}
}

// ignored reports a character that Unicode lets programs leave out of names.
func ignored(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

func byName(f File, out *collector) {
	p := string(f.Path)
	if !utf8.ValidString(p) {
		out.add("strange-name", carrel.SeverityHigh, "its name is not valid UTF-8")
	}
	for _, r := range p {
		if why := strange(r); why != "" {
			out.add("strange-name", carrel.SeverityHigh, fmt.Sprintf("its name holds %s (%U)", why, r))
		}
	}
	if !norm.NFC.IsNormalString(p) {
		out.add("strange-name", carrel.SeverityMedium, "its name is not in normal form C: it can look like another")
	}
	for part := range strings.SplitSeq(p, "/") {
		if why := unportable(part); why != "" {
			out.add("unportable-name", carrel.SeverityHigh, why)
		}
		for _, word := range strings.FieldsFunc(part, func(r rune) bool { return !unicode.IsLetter(r) }) {
			if mixedScripts(word) {
				out.add("strange-name", carrel.SeverityMedium, "its name mixes letters of different scripts that look alike")
			}
		}
		if MeansGit(part) {
			out.add("nested-repository", carrel.SeverityCritical, "some systems take this name for a git directory")
		}
	}
}

// strange says what is wrong with a character that a reader cannot see, or
// that acts on a terminal.
func strange(r rune) string {
	switch {
	case r == 0x1b || r >= 0x80 && r < 0xa0:
		return "a terminal control"
	case r < 0x20 || r == 0x7f:
		return "a control character"
	case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c:
		return "a bidirectional control"
	case unicode.Is(unicode.Variation_Selector, r), r >= 0xe0000 && r <= 0xe0fff:
		return "an invisible tag or variation selector"
	case unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point), r == 0x2800, r >= 0x13430 && r <= 0x1345f:
		return "an invisible character"
	case unicode.Is(unicode.Co, r):
		return "a private-use character"
	case unicode.Is(unicode.Zs, r) && r != ' ':
		return "an unusual space"
	case r == 0x2028 || r == 0x2029:
		return "an unusual line break"
	}
	return ""
}

// reserved are the names that Windows gives to devices, whatever follows the
// first dot.
var reserved = map[string]bool{"con": true, "prn": true, "aux": true, "nul": true, "conin$": true, "conout$": true}

func unportable(part string) string {
	stem, _, _ := strings.Cut(strings.ToLower(part), ".")
	stem = strings.TrimRight(stem, " ")
	numbered := len(stem) == 4 && (stem[:3] == "com" || stem[:3] == "lpt") && stem[3] >= '1' && stem[3] <= '9'
	switch {
	case part == "" || part == "." || part == "..":
		return ""
	case reserved[stem] || numbered:
		return "Windows takes its name for a device"
	case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " "):
		return "Windows drops the dot or space at the end of its name: it becomes another file"
	case strings.ContainsAny(part, "\\:"):
		return "Windows takes the \\ or : in its name for a path or a stream"
	case strings.ContainsAny(part, "<>\"|?*"):
		return "Windows cannot check out its name"
	case strings.HasPrefix(part, " ") || strings.HasPrefix(part, "-"):
		return "programs can take the start of its name for an option or lose it"
	}
	return ""
}

// mixedScripts recognises letters that look like Latin ones between Latin
// letters.
func mixedScripts(word string) bool {
	var latin, lookalike bool
	for _, r := range word {
		switch {
		case r < utf8.RuneSelf:
			latin = true
		case unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee), r >= 0xff01 && r <= 0xff5e: // full width forms of ASCII
			lookalike = true
		}
	}
	return latin && lookalike
}

// Collisions labels paths that become one on a system that folds case or
// normalises names. The keys are indexes into paths.
func Collisions(paths []carrel.Text) map[int]carrel.Label {
	first := make(map[string]int, len(paths))
	out := map[int]carrel.Label{}
	for i, p := range paths {
		folded := strings.ToLower(norm.NFKC.String(string(p)))
		j, taken := first[folded]
		if !taken {
			first[folded] = i
			continue
		}
		label := carrel.Label{Name: "case-collision", Severity: carrel.SeverityHigh, Reason: "another path of this change differs only in case or form: they are one file on some systems"}
		out[i], out[j] = label, label
	}
	return out
}

// ObeyedBeside says where a HEAD would have to lie, relative to the directory
// of path, for git to run or obey the file: "" for nowhere.
func ObeyedBeside(file string) string {
	dir, base := path.Split(strings.ToLower(file))
	switch dir = path.Base(path.Clean(dir)); {
	case base == "config", base == "config.worktree", base == "commondir":
		return "HEAD"
	case dir == "hooks", dir == "info":
		return "../HEAD"
	}
	return ""
}
