package hook

import "strings"

// filesOf are the files that a well-known program would read, write or delete
// by its own words. A program that is not here is judged by its name alone.
func filesOf(name string, words []word) []fileUse {
	switch name {
	case "cat", "tac", "head", "tail", "less", "more", "nl", "od", "xxd", "hexdump", "strings", "base64", "source", ".", "bat":
		return each(reads, operands(words))
	case "rm", "rmdir", "unlink", "shred":
		return each(deletes, operands(words))
	case "touch", "tee", "truncate", "mkdir":
		return each(writes, operands(words))
	case "cp", "install", "ln", "rsync":
		return last(writes, operands(words))
	case "mv":
		all := operands(words)
		if len(all) < 2 {
			return nil
		}
		return append(each(deletes, all[:len(all)-1]), last(writes, all)...)
	case "sed", "perl":
		for _, w := range words {
			if strings.HasPrefix(w.text, "-i") || strings.HasPrefix(w.text, "--in-place") || strings.HasPrefix(w.text, "-pi") {
				return last(writes, operands(words))
			}
		}
	case "dd":
		for _, w := range words {
			if to, ok := strings.CutPrefix(w.text, "of="); ok && w.known {
				return []fileUse{{how: writes, path: to}}
			}
		}
	}
	return nil
}

func each(how use, words []word) []fileUse {
	var out []fileUse
	for _, w := range words {
		if w.known && !device(w.text) {
			out = append(out, fileUse{how: how, path: w.text})
		}
	}
	return out
}

func last(how use, words []word) []fileUse {
	if len(words) == 0 {
		return nil
	}
	return each(how, words[len(words)-1:])
}
