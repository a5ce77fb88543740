package credential

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Definition is one credential as the user or the organisation describes it.
type Definition struct {
	Name   string
	Source *Source
	// Bindings are the only places it goes to.
	Bindings []Binding
	// For bounds the lease; 0 is DefaultLease.
	For time.Duration
}

// DefaultLease is how long a credential is lent unless it says so: a working
// day.
const DefaultLease = 12 * time.Hour

// Binding is one place a credential may go to: a TLS destination, a part of
// the request, and the requests it is for.
type Binding struct {
	Host string // canonical: lower case, no trailing dot; no wildcard
	Port int    // 0: 443

	// Where it goes: into Header, alone or after one word such as Bearer;
	// into Authorization as the password of the user Basic; or into the query
	// parameter Query. All empty means the header Authorization.
	Header, Basic, Query string

	Methods []string // upper case; empty: every method
	Paths   []string // "/repos/acme/**": ** is everything below, * one segment; empty: every path

	// Own lets requests pass that carry the agent's own credentials.
	Own bool
}

var (
	nameForm  = regexp.MustCompile(`\A[a-z0-9][a-z0-9._-]{0,63}\z`)
	tokenForm = regexp.MustCompile("\\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\\z")
	hostForm  = regexp.MustCompile(`\A[a-z0-9_]([a-z0-9._-]*[a-z0-9])?\z`)
)

// checked returns d with its defaults, or what is wrong with it.
func (d Definition) checked() (Definition, error) {
	if !nameForm.MatchString(d.Name) || d.Name == modelName {
		return d, fmt.Errorf("credential %q: a name has lower-case letters, digits, dots and dashes, and is not %q", d.Name, modelName)
	}
	if d.Source == nil || len(d.Bindings) == 0 {
		return d, fmt.Errorf("credential %s: it needs a source and a host", d.Name)
	}
	if d.For == 0 {
		d.For = DefaultLease
	}
	d.Bindings = slices.Clone(d.Bindings)
	for i, b := range d.Bindings {
		b, err := b.checked()
		if err != nil {
			return d, fmt.Errorf("credential %s: %w", d.Name, err)
		}
		d.Bindings[i] = b
	}
	return d, nil
}

// modelName is what uses of the model door's key are called in the log.
const modelName = "model"

func (b Binding) checked() (Binding, error) {
	if b.Port == 0 {
		b.Port = 443
	}
	places := 0
	for _, p := range []string{b.Header, b.Basic, b.Query} {
		if p != "" {
			places++
		}
	}
	if places == 0 {
		b.Header = "Authorization"
	}
	b.Header = http.CanonicalHeaderKey(b.Header)
	switch {
	case !hostForm.MatchString(b.Host) || !strings.Contains(b.Host, "."):
		return b, fmt.Errorf("host %q: say one host by its full name, in lower case and without a wildcard", b.Host)
	case b.Port < 1 || b.Port > 65535:
		return b, fmt.Errorf("port %d is not between 1 and 65535", b.Port)
	case places > 1:
		return b, errors.New("it goes to one place: header, basic or query")
	case b.Header != "" && !tokenForm.MatchString(b.Header), b.Query != "" && !tokenForm.MatchString(b.Query):
		return b, errors.New("the name of the header or parameter has characters that none has")
	case b.Header == "Host" || b.Header == "Content-Length" || b.Header == "Transfer-Encoding" || b.Header == "Connection":
		return b, fmt.Errorf("%s carries no credential", b.Header)
	case strings.ContainsAny(b.Basic, ": \r\n"):
		return b, fmt.Errorf("basic %q: say the user's name", b.Basic)
	}
	for _, m := range b.Methods {
		if m == "" || strings.ContainsFunc(m, func(r rune) bool { return r < 'A' || r > 'Z' }) {
			return b, fmt.Errorf("method %q: write methods in upper case", m)
		}
	}
	for _, p := range b.Paths {
		if !strings.HasPrefix(p, "/") || ambiguous(p) {
			return b, fmt.Errorf("path %q: write a plain path from the root, such as /repos/acme/**", p)
		}
	}
	return b, nil
}

// place names where in a request the binding puts its credential.
func (b Binding) place() string {
	switch {
	case b.Query != "":
		return "the query parameter " + b.Query
	case b.Basic != "":
		return "the password of the user " + b.Basic
	}
	return "the header " + b.Header
}

// String shows the binding in one line.
func (b Binding) String() string {
	s := fmt.Sprintf("%s:%d in %s", b.Host, b.Port, b.place())
	if len(b.Methods) > 0 {
		s += ", " + strings.Join(b.Methods, " ")
	}
	if len(b.Paths) > 0 {
		s += ", " + strings.Join(b.Paths, " ")
	}
	return s
}

// ambiguous reports whether two servers may read a path differently, so that
// no pattern can be trusted with it.
func ambiguous(path string) bool {
	lower := strings.ToLower(path)
	for _, odd := range []string{"//", "/./", "/../", "\\", ";", "%2e", "%2f", "%5c", "%25", "%3b", "%00"} {
		if strings.Contains(lower, odd) {
			return true
		}
	}
	return strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..") ||
		strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' })
}

// matchPath reports whether an escaped path fits a pattern: * stands for one
// segment or a part of it, ** as the last segment for everything below.
func matchPath(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, w := range want {
		if w == "**" && i == len(want)-1 {
			return i < len(got)
		}
		if i >= len(got) || !matchSegment(w, got[i]) {
			return false
		}
	}
	return len(want) == len(got)
}

func matchSegment(pattern, s string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	if s == "" || !strings.HasPrefix(s, first) {
		return false
	}
	for s = s[len(first):]; ; s = s[1:] {
		if matchSegment(rest, s) || rest == "" {
			return true
		}
		if s == "" {
			return false
		}
	}
}
