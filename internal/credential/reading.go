package credential

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// reading looks through one request for placeholders and foreign keys.
type reading struct {
	ls   *Leases
	host string
	port int
	req  *http.Request
	uri  string // as the agent sent it: what is told of it must not have a key that was put in
	uses []use
	ours map[string]bool // headers and parameters that a use fills
}

// read returns the uses of credentials in the request, or why it must not be
// sent.
func (r *reading) read() ([]use, *fault) {
	r.ours = map[string]bool{}
	for _, step := range []func() *fault{r.readHeader, r.readQuery, r.readRest, r.readForeign, r.readEncoding} {
		if f := step(); f != nil {
			return nil, f
		}
	}
	return r.uses, nil
}

func (r *reading) readHeader() *fault {
	for name, values := range r.req.Header {
		for i, value := range values {
			for _, l := range r.ls.all() {
				if l.in(name) || l.held.inName(name) {
					return misplaced(l, "in the name of a header")
				}
				if !l.in(value) {
					continue
				}
				if f := r.useHeader(l, name, i, value); f != nil {
					return f
				}
			}
		}
	}
	return nil
}

// useHeader accepts a placeholder in the header that a binding names.
func (r *reading) useHeader(l *lease, name string, i int, value string) *fault {
	user, before, ok := credentialIn(value, l.placeholder)
	fits := func(b Binding) bool {
		if user != "" {
			return b.Basic == user && name == "Authorization"
		}
		return b.Header == name
	}
	if !ok {
		return misplaced(l, "in the header "+name+", not alone")
	}
	if len(r.req.Header[name]) > 1 {
		return &fault{l.def.Name, ruleForm, fmt.Sprintf("the header %s is there %d times", name, len(r.req.Header[name]))}
	}
	return r.useIf(l, fits, "in the header "+name, name, func(secret string) {
		r.req.Header[name][i] = before + secret
		if user != "" {
			r.req.Header[name][i] = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
		}
	})
}

// credentialIn splits a header's value into what comes before the placeholder
// and the placeholder, which must be all that follows. Inside Basic it returns
// the user.
func credentialIn(value, placeholder string) (user, before string, ok bool) {
	if before, ok = strings.CutSuffix(value, placeholder); ok {
		word := strings.TrimSuffix(before, " ")
		return "", before, before == "" || before == word+" " && tokenForm().MatchString(word)
	}
	scheme, encoded, _ := strings.Cut(value, " ")
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if !strings.EqualFold(scheme, "Basic") || err != nil {
		return "", "", false
	}
	user, password, _ := strings.Cut(string(plain), ":")
	return user, "", password == placeholder && user != ""
}

func (r *reading) readQuery() *fault {
	if r.req.URL.RawQuery == "" {
		return nil
	}
	parts := strings.Split(r.req.URL.RawQuery, "&")
	for i, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		for _, l := range r.ls.all() {
			if !l.in(part) {
				continue
			}
			if plain, err := url.QueryUnescape(value); value != l.placeholder && (err != nil || plain != l.placeholder) {
				return misplaced(l, "in the query")
			}
			same := func(p string) bool { n, _, _ := strings.Cut(p, "="); return n == name }
			if slices.IndexFunc(parts, same) != i || slices.ContainsFunc(parts[i+1:], same) {
				return &fault{l.def.Name, ruleForm, "the query parameter " + shorten(name) + " is there more than once"}
			}
			fits := func(b Binding) bool { return b.Query != "" && b.Query == name }
			if f := r.useIf(l, fits, "in the query parameter "+shorten(name), "?"+name, func(secret string) {
				parts[i] = name + "=" + url.QueryEscape(secret)
				r.req.URL.RawQuery = strings.Join(parts, "&")
			}); f != nil {
				return f
			}
		}
	}
	return nil
}

// useIf accepts a placeholder if a binding of this destination fits it and is
// for this request.
func (r *reading) useIf(l *lease, fits func(Binding) bool, where, key string, put func(string)) *fault {
	here := l.def
	here.Bindings = nil
	for _, b := range l.def.Bindings {
		if b.Host == r.host && b.Port == r.port && fits(b) {
			here.Bindings = append(here.Bindings, b)
		}
	}
	switch {
	case len(here.Bindings) == 0:
		return misplaced(l, where+" to "+r.host)
	case !r.secure():
		return misplaced(l, where+", over plain http")
	case !r.same():
		return misplaced(l, where+" of a request for "+shorten(r.req.Host))
	case l.expired():
		return &fault{l.def.Name, ruleExpired, "the lease ended at " + l.expires.Format("2006-01-02 15:04:05 UTC")}
	}
	if d := here.decideUse(r.action(l.def.Name, nil)); !d.Allows() {
		return &fault{l.def.Name, strings.TrimPrefix(d.Rules[0], "credential/"), d.Reason}
	}
	r.uses = append(r.uses, use{l, put})
	r.ours[key] = true
	return nil
}

func misplaced(l *lease, where string) *fault {
	return &fault{l.def.Name, ruleMisplaced, "a placeholder of " + l.def.Name + " was found " + where}
}

// readRest looks where no credential belongs.
func (r *reading) readRest() *fault {
	u := r.req.URL
	rest := map[string]string{
		"in the method": r.req.Method, "in the path": u.Path + "\x00" + u.RawPath + "\x00" + u.Opaque,
		"in the host": r.req.Host + "\x00" + u.Host, "in the fragment": u.Fragment,
	}
	if u.User != nil {
		rest["in the user part of the address"] = u.User.String()
	}
	for where, text := range rest {
		for _, l := range r.ls.all() {
			if l.in(text) {
				return misplaced(l, where)
			}
		}
	}
	return nil
}

// Headers and query parameters that say whose account is used.
var (
	keyHeaders = []string{
		"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "Api-Key", "Apikey", "X-Goog-Api-Key",
		"X-Auth-Token", "X-Access-Token", "Private-Token", "Job-Token", "Deploy-Token", "X-Amz-Security-Token",
	}
	keyParameters = []string{
		"key", "api_key", "apikey", "token", "access_token", "auth_token", "private_token", "oauth_token",
		"sig", "signature", "x-amz-signature", "x-amz-security-token", "x-goog-signature",
	}
)

// readForeign refuses keys of the agent's own at a host that has one of ours:
// with another account an allowed host is a way out.
func (r *reading) readForeign() *fault {
	bindings := r.ls.cfg.Rules.at(r.host, r.port)
	if len(bindings) == 0 || slices.ContainsFunc(bindings, func(b Binding) bool { return b.Own }) {
		return nil
	}
	headers, parameters := slices.Clone(keyHeaders), slices.Clone(keyParameters)
	for _, b := range bindings {
		headers, parameters = append(headers, b.Header), append(parameters, b.Query)
	}
	if r.req.URL.User != nil {
		return r.foreign(bindings, "a user in its address")
	}
	for name, values := range r.req.Header {
		plain := strings.ReplaceAll(name, "_", "-") // some servers take one for the other
		known := slices.ContainsFunc(headers, func(h string) bool { return strings.EqualFold(h, plain) })
		if known && !r.ours[name] && strings.Join(values, "") != "" {
			if signs(values[0]) {
				return r.foreign(bindings, "a signature made with a key, which a placeholder cannot make")
			}
			return r.foreign(bindings, "the header "+name)
		}
	}
	for part := range strings.SplitSeq(r.req.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		plain, err := url.QueryUnescape(name)
		known := err != nil || slices.ContainsFunc(parameters, func(p string) bool { return p != "" && strings.EqualFold(p, plain) })
		if known && !r.ours["?"+name] && value != "" {
			return r.foreign(bindings, "the query parameter "+shorten(name))
		}
	}
	return nil
}

// signs reports whether an Authorization is a signature over the request.
func signs(value string) bool {
	scheme, _, _ := strings.Cut(value, " ")
	return strings.HasPrefix(scheme, "AWS") || strings.HasPrefix(scheme, "GOOG4") || strings.EqualFold(scheme, "Hawk") || strings.EqualFold(scheme, "Signature") || strings.EqualFold(scheme, "Digest")
}

func (r *reading) foreign(bindings []Binding, what string) *fault {
	name := ""
	for _, d := range r.ls.cfg.Rules.list {
		if slices.ContainsFunc(d.Bindings, func(b Binding) bool { return b.Host == r.host && b.Port == r.port }) {
			name = d.Name
			break
		}
	}
	return &fault{name, ruleForeign, fmt.Sprintf("the request to %s brings a key that is not Carrel's: %s", r.host, what)}
}

// maxDecodings bounds how often escapes are undone in search of a placeholder.
const maxDecodings = 3

// in reports whether a text has the placeholder in it, however it is spelt.
func (l *lease) in(text string) bool {
	for range maxDecodings {
		if l.held.has([]byte(text)) {
			return true
		}
		plain, err := url.PathUnescape(strings.ReplaceAll(text, "+", "%2B"))
		if err != nil || plain == text {
			return false
		}
		text = plain
	}
	return false
}
