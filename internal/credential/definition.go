package credential

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
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
	Paths   []string // patterns as in network rules; empty: every path

	// Own lets requests pass that carry the agent's own credentials.
	Own bool

	covers func(path string) bool // by Paths; set by checked
}

// Compile turns patterns of paths into a question about a path. It answers no
// for a path that can be read in two ways.
type Compile func(patterns []string) (covers func(path string) bool, err error)

var (
	nameForm  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A[a-z0-9][a-z0-9._-]{0,63}\z`) })
	tokenForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("\\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\\z") })
	hostForm  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A[a-z0-9_]([a-z0-9._-]*[a-z0-9])?\z`) })
)

// checked returns d with its defaults, or what is wrong with it.
func (d Definition) checked(compile Compile) (Definition, error) {
	if !nameForm().MatchString(d.Name) || d.Name == modelName {
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
		b, err := b.checked(compile)
		if err != nil {
			return d, fmt.Errorf("credential %s: %w", d.Name, err)
		}
		d.Bindings[i] = b
	}
	return d, nil
}

// modelName is what uses of the model door's key are called in the log.
const modelName = "model"

func (b Binding) checked(compile Compile) (Binding, error) {
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
	case !hostForm().MatchString(b.Host) || !strings.Contains(b.Host, "."):
		return b, fmt.Errorf("host %q: say one host by its full name, in lower case and without a wildcard", b.Host)
	case b.Port < 1 || b.Port > 65535:
		return b, fmt.Errorf("port %d is not between 1 and 65535", b.Port)
	case places > 1:
		return b, errors.New("it goes to one place: header, basic or query")
	case b.Header != "" && !tokenForm().MatchString(b.Header), b.Query != "" && !tokenForm().MatchString(b.Query):
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
	if len(b.Paths) == 0 {
		b.covers = func(string) bool { return true }
		return b, nil
	}
	var err error
	if b.covers, err = compile(b.Paths); err != nil {
		return b, fmt.Errorf("paths of %s: %w", b.Host, err)
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
