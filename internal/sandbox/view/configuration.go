package view

import (
	"io"
	"os"
	"path/filepath"
	"strings"
)

// configuration is a tool's settings file of the host of which lines are
// taken over: where packages come from, without the keys to it.
type configuration struct {
	host   string // relative to the home
	target string
	env    string // set to target; "" where tools look there by themselves
	takes  func(key string) bool
}

var configurations = []configuration{
	{".npmrc", "/etc/carrel/npmrc", "npm_config_globalconfig", func(k string) bool {
		return k == "registry" || strings.HasPrefix(k, "@") && strings.HasSuffix(k, ":registry") || k == "strict-ssl" || k == "fund" || k == "audit"
	}},
	{".config/go/env", "/etc/carrel/goenv", "GOENV", func(k string) bool {
		switch k {
		case "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOFLAGS", "GOTOOLCHAIN", "CGO_ENABLED":
			return true
		}
		return false
	}},
	{".config/pip/pip.conf", "/etc/pip.conf", "", func(k string) bool {
		return strings.HasPrefix(k, "[") || k == "index-url" || k == "extra-index-url" || k == "find-links" || k == "timeout"
	}},
}

// maxConfiguration bounds a settings file that is read.
const maxConfiguration = 64 << 10

// configurations takes over the lines of settings files that the table names.
func (b *builder) configurations() {
	if b.Home == "" {
		return
	}
	for _, c := range configurations {
		content := readSmall(filepath.Join(b.Home, c.host))
		var out strings.Builder
		for line := range strings.Lines(content) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			if key = strings.TrimSpace(key); c.takes(key) && !looksSecret("", value) && !strings.Contains(value, "${") {
				out.WriteString(strings.TrimSpace(line) + "\n")
			}
		}
		if out.Len() == 0 {
			continue
		}
		b.file(c.target, out.String(), "where packages come from, without keys")
		if c.env != "" {
			b.set[c.env] = c.target
		}
	}
}

// readSmall returns the content of a small plain file, or "".
func readSmall(path string) string {
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > maxConfiguration {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxConfiguration))
	if err != nil {
		return ""
	}
	return string(content)
}
