package hook

import (
	"bytes"
	"errors"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

var (
	errTooLong = errors.New("the command is longer than 1 MiB")
	errTooDeep = errors.New("the command nests more than 8 shells")
	errTwoWays = errors.New("it has characters that shells read in different ways")
	errTooMany = errors.New("the command starts more than 64 programs")
)

// word is one word of a command line: what the program would get, if that is
// known before it runs, else the word as written.
type word struct {
	text  string
	known bool
}

func texts(words []word) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.text
	}
	return out
}

// wordOf reads a word as bash would, as far as nothing has to run for it.
func wordOf(w *syntax.Word) word {
	var b strings.Builder
	if literal(&b, w.Parts, false) {
		return word{b.String(), true}
	}
	var written bytes.Buffer
	if err := syntax.NewPrinter().Print(&written, w); err != nil {
		return word{"?", false}
	}
	return word{written.String(), false}
}

func literal(b *strings.Builder, parts []syntax.WordPart, quoted bool) bool {
	for i, p := range parts {
		switch p := p.(type) {
		case *syntax.ParamExp:
			if b.Len() > 0 || !isHome(p) || i+1 < len(parts) && !beginsWithSlash(parts[i+1]) {
				return false
			}
			b.WriteByte('~')
		case *syntax.Lit:
			if !quoted && strings.ContainsAny(bare(p.Value), "*?[{") {
				return false // a pattern: what it becomes depends on what is there
			}
			unescape(b, p.Value, quoted)
		case *syntax.SglQuoted:
			if p.Dollar && strings.Contains(p.Value, `\`) {
				return false
			}
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			if p.Dollar || !literal(b, p.Parts, true) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// isHome reports $HOME and ${HOME}, which say what ~ does.
func isHome(p *syntax.ParamExp) bool {
	return p.Param != nil && p.Param.Value == "HOME" && !p.Excl && !p.Length && !p.Width && p.Index == nil &&
		p.Slice == nil && p.Repl == nil && p.Exp == nil && p.Names == 0
}

func beginsWithSlash(p syntax.WordPart) bool {
	lit, ok := p.(*syntax.Lit)
	return ok && strings.HasPrefix(lit.Value, "/")
}

// bare is a literal without what a backslash protects.
func bare(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unescape drops the backslashes that bash drops. Between double quotes only
// some characters can be escaped.
func unescape(b *strings.Builder, s string, quoted bool) {
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (!quoted || strings.IndexByte("$`\"\\\n", s[i+1]) >= 0) {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		b.WriteByte(s[i])
	}
}

// base is a program's name without its directory, and without what Windows
// adds to it.
func base(program string) string {
	name := path.Base(strings.ReplaceAll(program, `\`, "/"))
	return strings.TrimSuffix(strings.ToLower(name), ".exe")
}

// operands are the words that are no options; after -- all are.
func operands(words []word) []word {
	var out []word
	for i, w := range words {
		switch {
		case w.text == "--":
			return append(out, words[i+1:]...)
		case w.known && len(w.text) > 1 && w.text[0] == '-':
		default:
			out = append(out, w)
		}
	}
	return out
}
