package hook

import (
	"slices"
	"strings"
)

// filesOf are the files that a well-known program would read, write or delete
// by its own words. A program that is not here is judged by its name alone.
func filesOf(name string, words []word) []fileUse {
	return append(append(operandFiles(name, words), inputFiles(name, words)...), each(writes, valuesOf(name, outputs[name], words))...)
}

// operandFiles are those that its operands name.
func operandFiles(name string, words []word) []fileUse {
	switch name {
	case "cat", "tac", "head", "tail", "less", "more", "nl", "od", "hexdump", "strings", "base64", "source", ".", "bat":
		return each(reads, operands(words))
	case "wc", "sort", "uniq", "cut", "paste", "diff", "cmp", "md5sum", "sha1sum", "sha256sum", "zcat":
		return each(reads, operands(withoutValues(words, valued[name])))
	case "grep", "egrep", "fgrep", "rg":
		if all := operands(withoutValues(words, valued[name])); len(all) > 1 { // the first says what to look for
			return each(reads, all[1:])
		}
		return nil
	case "rm", "rmdir", "unlink", "shred":
		return each(deletes, operands(words))
	case "touch", "tee", "truncate", "mkdir":
		return each(writes, operands(words))
	case "cp", "install", "rsync", "scp":
		return copied(words)
	case "ln":
		return linked(operands(words))
	case "rev", "fold", "zip", "gzip", "bzip2", "xz", "vi", "vim", "nano", "emacs":
		return each(reads, operands(words))
	case "awk", "gawk", "mawk", "jq":
		return afterScript(name, words)
	case "mv":
		if all := operands(words); len(all) > 1 {
			return append(each(deletes, all[:len(all)-1]), last(writes, all)...)
		}
	case "sed", "perl", "ruby":
		if inPlace(name, words) {
			return last(writes, operands(words))
		}
		if name == "sed" {
			return afterScript(name, words)
		}
	case "find":
		return found(words)
	case "chmod", "chown", "chgrp", "setfacl", "chattr":
		if all := operands(words); len(all) > 1 { // the first says what they become
			return each(writes, all[1:])
		}
	case "patch":
		return first(writes, operands(words))
	case "xxd":
		all := operands(words)
		return append(first(reads, all), each(writes, all[min(1, len(all)):])...)
	case "ed", "ex":
		return each(writes, operands(words))
	case "tar":
		return unpackedBy(words)
	case "dd":
		return converted(words)
	}
	return nil
}

// copied are the files of cp and its like, but for those of other machines.
func copied(words []word) []fileUse {
	all := slices.DeleteFunc(slices.Clone(operands(words)), func(w word) bool { return strings.Contains(w.text, ":") })
	if len(all) == 0 || all[len(all)-1].text != words[len(words)-1].text {
		return each(reads, all)
	}
	return append(each(reads, all[:len(all)-1]), last(writes, all)...)
}

// linked are the files of ln. Where a link leads is read later; from home it
// is told now.
func linked(all []word) []fileUse {
	out := last(writes, all)
	for _, w := range all[:max(0, len(all)-1)] {
		if strings.HasPrefix(w.text, "~") {
			out = append(out, each(reads, []word{w})...)
		}
	}
	return out
}

// converted are the files of dd.
func converted(words []word) []fileUse {
	var out []fileUse
	for _, w := range words {
		if to, ok := strings.CutPrefix(w.text, "of="); ok && w.known {
			out = append(out, each(writes, []word{homely(to)})...)
		}
		if from, ok := strings.CutPrefix(w.text, "if="); ok {
			out = append(out, each(reads, []word{homely(from)})...)
		}
	}
	return out
}

// valued are the short options of programs that take the next word.
var valued = map[string]string{
	"sort": "ktoST", "uniq": "fsw", "cut": "dfbc", "paste": "d", "diff": "UIxWF",
	"grep": "ABCmdDef", "egrep": "ABCmdDef", "fgrep": "ABCmdDef", "rg": "ABCmefgtTEjMdr",
}

// withoutValues drops the words that belong to the options with these letters.
func withoutValues(words []word, letters string) []word {
	var out []word
	for i := 0; i < len(words); i++ {
		out = append(out, words[i])
		text := words[i].text
		if len(text) == 2 && text[0] == '-' && strings.IndexByte(letters, text[1]) >= 0 {
			i++
		}
	}
	return out
}

func each(how use, words []word) []fileUse {
	var out []fileUse
	for _, w := range words {
		if path := w.text; !device(path) && (w.known || within(&path)) {
			out = append(out, fileUse{how: how, path: path})
		}
	}
	return out
}

// within turns a pattern into the directory that all it stands for lies below,
// if it says so. A pattern for a whole directory counts as that.
func within(path *string) bool {
	pattern := strings.IndexAny(*path, "*?[{")
	if pattern < 0 || strings.ContainsAny(*path, "$`<>()\\\"'") {
		return false
	}
	slash := strings.LastIndexByte((*path)[:pattern], '/')
	*path = (*path)[:slash+1]
	return slash >= 0
}

func first(how use, words []word) []fileUse { return each(how, words[:min(1, len(words))]) }

func last(how use, words []word) []fileUse {
	if len(words) == 0 {
		return nil
	}
	return each(how, words[len(words)-1:])
}
