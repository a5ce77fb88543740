package hook

import (
	"slices"
	"strings"
)

// inputs are options of programs whose value is a file that is read.
var inputs = map[string][]string{
	"curl": {"-T", "--upload-file", "-K", "--config"}, "wget": {"--post-file", "--body-file", "-i", "--input-file"},
	"openssl": {"-in"}, "xargs": {"-a", "--arg-file"}, "jq": {"--slurpfile", "--rawfile"},
}

// sent are options of curl whose value is a file after a mark.
var sent = []string{"-d", "--data", "--data-binary", "--data-ascii", "--data-raw", "--data-urlencode", "-F", "--form", "-H", "--header", "--json"}

// inputFiles are the files that a program's options have it read.
func inputFiles(name string, words []word) []fileUse {
	out := each(reads, valuesOf(name, inputs[name], words))
	if name != "curl" {
		return out
	}
	for _, w := range words {
		if file, ok := strings.CutPrefix(w.text, "file://"); ok {
			out = append(out, each(reads, []word{{file, w.known}})...)
		}
	}
	for i, w := range words {
		for _, option := range sent {
			value, joined := strings.CutPrefix(w.text, option)
			if w.text == option && i+1 < len(words) {
				value = words[i+1].text
			} else if !joined || value == "" {
				continue
			}
			if at := strings.IndexAny(value, "@<"); at == 0 || at > 0 && value[at-1] == '=' {
				file, _, _ := strings.Cut(value[at+1:], ";")
				out = append(out, each(reads, []word{homely(file)})...)
			}
		}
	}
	return out
}

// homely is a part of a word: what it has of the shell is only the home.
func homely(text string) word {
	for _, home := range []string{"$HOME/", "${HOME}/"} {
		if rest, ok := strings.CutPrefix(text, home); ok {
			text = "~/" + rest
		}
	}
	return word{text, !strings.ContainsAny(text, "$`*?[{\"'")}
}

// afterScript are the files after what awk, sed or jq is told to do.
func afterScript(name string, words []word) []fileUse {
	scripts := valuesOf(name, []string{"-e", "-f", "--expression", "--file"}, words)
	values := append(valuesOf(name, []string{"-v", "-F", "-L"}, words), scripts...)
	all := slices.DeleteFunc(slices.Clone(operands(words)), func(w word) bool { return slices.Contains(values, w) })
	if len(scripts) == 0 {
		all = all[min(1, len(all)):]
	}
	return each(reads, all)
}

// packed are the files that tar puts into an archive, and the archive.
func packed(words []word) []fileUse {
	if len(words) > 0 && !strings.HasPrefix(words[0].text, "-") {
		words = words[1:]
	}
	return each(reads, operands(words))
}
