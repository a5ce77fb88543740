package view

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// secretWords are parts of names (split at anything but letters) that say a
// value is a secret.
var secretWords = map[string]bool{
	"KEY": true, "APIKEY": true, "TOKEN": true, "SECRET": true, "SECRETS": true, "PASSWORD": true, "PASSWD": true, "PASS": true,
	"PASSPHRASE": true, "CREDENTIAL": true, "CREDENTIALS": true, "AUTH": true, "COOKIE": true, "SESSION": true, "PAT": true,
	"DSN": true, "BEARER": true, "JWT": true, "PRIVATE": true, "SIGNATURE": true,
}

// secretEnds are the same for names written in one word, as in authToken.
var secretEnds = []string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "APIKEY", "ACCESSKEY", "PRIVATEKEY"}

// secretShapes are values that are secrets whatever their name: issuers mark
// them so that they can be found.
var secretShapes = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:` + strings.Join(shapes, "|") + `)`) })

var shapes = []string{
	`\bsk-[A-Za-z0-9_-]{16,}`, `\bgh[pousr]_[A-Za-z0-9]{20,}`, `\bgithub_pat_[A-Za-z0-9_]{20,}`, `\bglpat-[A-Za-z0-9_-]{16,}`,
	`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`, `\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`, `\bAIza[A-Za-z0-9_-]{30,}`, `\bya29\.[A-Za-z0-9_-]{20,}`,
	`\bnpm_[A-Za-z0-9]{30,}`, `\bpypi-[A-Za-z0-9_-]{30,}`, `\bhf_[A-Za-z0-9]{20,}`, `\bdop_v1_[a-f0-9]{40,}`, `\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}`,
	`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.`, `-----BEGIN [A-Z ]*PRIVATE KEY`, `\bAGE-SECRET-KEY-`, `\bSG\.[A-Za-z0-9_-]{16,}\.`,
}

// looksSecret reports whether a variable looks like a secret by its name or
// its value. It errs on the side of saying so: it only names what is handed in.
func looksSecret(name, value string) bool {
	if value == "" {
		return false
	}
	words := strings.FieldsFunc(strings.ToUpper(name), func(r rune) bool { return r < 'A' || r > 'Z' })
	for _, w := range words {
		if secretWords[w] || slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(w, end) }) {
			return true
		}
	}
	return secretShapes().MatchString(value) || hasUserinfo(value)
}

// hasUserinfo reports whether a value holds an address with a password in it.
func hasUserinfo(value string) bool {
	for word := range strings.FieldsSeq(strings.NewReplacer(",", " ", ";", " ", "|", " ", "=", " ").Replace(value)) {
		if !strings.Contains(word, "://") {
			continue
		}
		if u, err := url.Parse(strings.Trim(word, `"'`)); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok && password != "" || len(u.User.Username()) > 16 {
				return true
			}
		}
	}
	return false
}
