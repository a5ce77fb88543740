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

// shape is how one issuer marks its secrets, so that they can be found.
type shape struct {
	mark string // what every one of them contains
	expr func() *regexp.Regexp
}

// shapes are of values that are secrets whatever their name. An expression is
// compiled when its mark is met: most starts meet none.
var shapes = []shape{
	shaped("sk-", `\bsk-[A-Za-z0-9_-]{16,}`), shaped("gh", `\bgh[pousr]_[A-Za-z0-9]{20,}`),
	shaped("github_pat_", `\bgithub_pat_[A-Za-z0-9_]{20,}`), shaped("glpat-", `\bglpat-[A-Za-z0-9_-]{16,}`),
	shaped("xox", `\bxox[abeoprs]-[A-Za-z0-9-]{10,}`), shaped("IA", `\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`),
	shaped("AIza", `\bAIza[A-Za-z0-9_-]{30,}`), shaped("ya29.", `\bya29\.[A-Za-z0-9_-]{20,}`),
	shaped("npm_", `\bnpm_[A-Za-z0-9]{30,}`), shaped("pypi-", `\bpypi-[A-Za-z0-9_-]{30,}`),
	shaped("hf_", `\bhf_[A-Za-z0-9]{20,}`), shaped("dop_v1_", `\bdop_v1_[a-f0-9]{40,}`),
	shaped("k_", `\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}`), shaped("eyJ", `\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.`),
	shaped("PRIVATE KEY", `-----BEGIN [A-Z ]*PRIVATE KEY`), shaped("AGE-SECRET-KEY-", `\bAGE-SECRET-KEY-`),
	shaped("SG.", `\bSG\.[A-Za-z0-9_-]{16,}\.`),
}

func shaped(mark, expr string) shape {
	return shape{mark, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })}
}

func (s shape) fits(value string) bool {
	return strings.Contains(value, s.mark) && s.expr().MatchString(value)
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
	fits := func(s shape) bool { return s.fits(value) }
	return slices.ContainsFunc(shapes, fits) || hasUserinfo(value)
}

// hasUserinfo reports whether a value holds an address with a password in it.
func hasUserinfo(value string) bool {
	if !strings.Contains(value, "://") {
		return false
	}
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
