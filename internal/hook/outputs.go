package hook

import (
	"path"
	"slices"
	"strings"
)

// outputs are options of programs whose value is a file or directory that is
// written.
var outputs = map[string][]string{
	"cp": {"-t", "--target-directory"}, "mv": {"-t", "--target-directory"}, "ln": {"-t", "--target-directory"}, "install": {"-t", "--target-directory"},
	"curl": {"-o", "--output", "--output-dir", "-c", "--cookie-jar", "-D", "--dump-header", "--trace", "--trace-ascii"},
	"wget": {"-O", "--output-document", "-P", "--directory-prefix", "-o", "--output-file", "-a", "--append-output"},
	"git":  {"-o", "--output", "--output-directory"},
	"sort": {"-o", "--output"}, "patch": {"-o", "--output", "-r", "--reject-file"}, "gpg": {"-o", "--output"}, "unzip": {"-d"}, "7z": {"-o"},
	"gcc": {"-o"}, "cc": {"-o"}, "g++": {"-o"}, "clang": {"-o"}, "rustc": {"-o"}, "go": {"-o", "-coverprofile", "-cpuprofile", "-memprofile"},
	"openssl": {"-out"}, "find": {"-fprint", "-fprint0", "-fprintf", "-fls"}, "csplit": {"-f", "--prefix"},
	"tree": {"-o"}, "strace": {"-o", "--output"}, "script": {"-O", "--log-out", "-B", "--log-io"},
}

// oneDash are programs whose options of one dash are words: none is made of
// several letters.
var oneDash = map[string]bool{"gcc": true, "cc": true, "g++": true, "clang": true, "go": true, "openssl": true, "find": true, "rustc": true}

// valuesOf are the values of such options among a program's words.
func valuesOf(name string, options []string, words []word) (out []word) {
	for i, w := range words {
		if len(w.text) < 2 || w.text[0] != '-' || len(options) == 0 {
			continue
		}
		option, value, joined := strings.Cut(w.text, "=")
		letters := w.text[1] != '-' && !oneDash[name]
		switch {
		case joined && slices.Contains(options, option):
			value := word{value, w.known}
			if !w.known {
				value = homely(value.text)
			}
			out = append(out, value)
		case slices.Contains(options, w.text) || letters && several(w.text) && slices.Contains(options, "-"+w.text[len(w.text)-1:]):
			if i+1 < len(words) && !strings.Contains(words[i+1].text, "://") {
				out = append(out, words[i+1])
			}
		case letters && slices.Contains(options, w.text[:2]):
			out = append(out, word{w.text[2:], w.known})
		}
	}
	return out
}

// several reports options of one letter each, in one word.
func several(text string) bool {
	return len(text) <= 8 && strings.Trim(text[1:], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ#") == ""
}

// unpackedBy is where tar puts what an archive holds, or the archive itself.
func unpackedBy(words []word) []fileUse {
	if len(words) == 0 {
		return nil
	}
	flags := words[0].text
	is := func(letter, long string) bool {
		return !strings.HasPrefix(flags, "--") && strings.Contains(flags, letter) || slices.ContainsFunc(words, func(w word) bool { return w.text == long || w.text == "-"+letter })
	}
	var out []fileUse
	if is("x", "--extract") || is("x", "--get") {
		out = each(writes, valuesOf("tar", []string{"-C", "--directory"}, words))
	} else if is("c", "--create") {
		if out = each(writes, valuesOf("tar", []string{"-f", "--file"}, words)); len(out) == 0 && len(words) > 1 && strings.HasSuffix(flags, "f") {
			out = each(writes, words[1:2])
		}
		out = append(out, packed(words)...)
	}
	return out
}

// inPlace reports an option that has sed and its like write to the file they
// read: -i, alone, with a suffix, or among others of one letter.
func inPlace(name string, words []word) bool {
	ends := "efl0I" // what follows these letters is no option
	if name == "sed" {
		ends = "efl"
	}
	return slices.ContainsFunc(words, func(w word) bool {
		if strings.HasPrefix(w.text, "--in-place") {
			return true
		}
		if len(w.text) < 2 || w.text[0] != '-' || w.text[1] == '-' {
			return false
		}
		letters := w.text[1:]
		if end := strings.IndexAny(letters, ends); end >= 0 {
			letters = letters[:end]
		}
		return strings.Contains(letters, "i")
	})
}

// found are the directories below which find deletes what it finds, by itself
// or by rm, or has another program read it.
func found(words []word) []fileUse {
	starts := slices.IndexFunc(words, func(w word) bool { return strings.HasPrefix(w.text, "-exec") || strings.HasPrefix(w.text, "-ok") })
	removes := slices.ContainsFunc(words, func(w word) bool { return w.text == "-delete" })
	for i, w := range words[:max(len(words)-1, 0)] {
		if strings.HasPrefix(w.text, "-exec") && base(words[i+1].text) == "rm" {
			removes = true
		}
	}
	how := reads
	switch {
	case removes:
		how = deletes
	case starts < 0:
		return nil
	}
	end := slices.IndexFunc(words, func(w word) bool { return strings.HasPrefix(w.text, "-") || w.text == "(" || w.text == "!" })
	if end < 0 {
		end = len(words)
	}
	roots := words[:end]
	if len(words)-end > 1 { // it chooses: not all that lies below
		roots = slices.DeleteFunc(slices.Clone(roots), func(w word) bool { return path.Clean(w.text) == "." })
	}
	return each(how, roots)
}
