package egress

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// methodOverrides and pathOverrides are headers by which some servers take a
// request for another one than it says. Those behind CGI and its like read an
// underscore as a hyphen.
var (
	methodOverrides = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}
	pathOverrides   = []string{"X-Original-Url", "X-Rewrite-Url"}
)

// methodParameter is the same in a query.
const methodParameter = "_method"

// checkOverrides refuses a request that asks to be taken for another one than
// its first line says, which is the one that is decided.
func checkOverrides(r *http.Request, query string) error {
	for name, values := range r.Header {
		plain := strings.ReplaceAll(name, "_", "-")
		for _, known := range pathOverrides {
			if strings.EqualFold(plain, known) {
				return fmt.Errorf("%s names another path", known)
			}
		}
		for _, known := range methodOverrides {
			if strings.EqualFold(plain, known) && !onlySays(values, r.Method) {
				return fmt.Errorf("%s names another method", known)
			}
		}
	}
	for part := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err != nil || plain != methodParameter {
			continue
		}
		if plain, err := url.QueryUnescape(value); err != nil || !strings.EqualFold(plain, r.Method) {
			return fmt.Errorf("the parameter %s names another method", methodParameter)
		}
	}
	return nil
}

// onlySays reports whether every value is the method that the request has.
func onlySays(values []string, method string) bool {
	for _, v := range values {
		if !strings.EqualFold(strings.TrimSpace(v), method) {
			return false
		}
	}
	return true
}
