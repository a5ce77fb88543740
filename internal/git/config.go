package git

import "strings"

// parseConfig reads the simple values of a git configuration file as data:
// "section.key" or "section.subsection.key", the last one of a name. It
// follows no includes. What it cannot read it skips: nothing is trusted
// because of a value, values only narrow what is believed.
func parseConfig(content []byte) map[string]string {
	values := make(map[string]string)
	section := ""
	for l := range strings.Lines(string(content)) {
		l = strings.TrimSpace(l)
		switch {
		case l == "" || l[0] == '#' || l[0] == ';':
		case l[0] == '[':
			head, rest, _ := strings.Cut(l[1:], "]")
			section = sectionName(head)
			parseSetting(values, section, strings.TrimSpace(rest))
		default:
			parseSetting(values, section, l)
		}
	}
	return values
}

func sectionName(head string) string {
	name, sub, quoted := strings.Cut(head, `"`)
	name = strings.ToLower(strings.TrimSpace(name))
	if quoted {
		return name + "." + strings.TrimSuffix(sub, `"`)
	}
	return name
}

func parseSetting(values map[string]string, section, l string) {
	if l == "" || l[0] == '#' || l[0] == ';' {
		return
	}
	key, value, found := strings.Cut(l, "=")
	if !found {
		value = "true"
	}
	values[section+"."+strings.ToLower(strings.TrimSpace(key))] = unquote(strings.TrimSpace(value))
}

// unquote removes quotes, escapes and a trailing comment.
func unquote(s string) string {
	var out strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && i+1 < len(s):
			i++
			out.WriteByte(s[i])
		case (c == '#' || c == ';') && !quoted:
			return strings.TrimSpace(out.String())
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true
	}
	return false
}
