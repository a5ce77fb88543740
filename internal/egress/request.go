package egress

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// setRequests checks what narrows a rule to some requests.
func (c *compiled) setRequests(r *Rule) error {
	if r.Upload < 0 {
		return errors.New("upload is a number of bytes")
	}
	if !r.exact() && !r.WebSocket {
		return nil
	}
	for port, p := range c.protocols {
		if p == carrel.ProtoTCP {
			return fmt.Errorf("methods, paths and websocket need http or tls, and port %d speaks tcp", port)
		}
	}
	if r.exact() && r.ECH == ECHAllow {
		return errors.New("a rule by request reads what is asked for; it cannot let the client hide whom it asks (ech)")
	}
	r.Methods = slices.Clone(r.Methods)
	for i, m := range r.Methods {
		if m == "" || strings.ContainsFunc(m, func(c rune) bool { return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' }) {
			return fmt.Errorf("%q is not a method such as GET", shorten(m))
		}
		r.Methods[i] = strings.ToUpper(m)
	}
	r.Paths = slices.Clone(r.Paths)
	for i, p := range r.Paths {
		pattern, err := canonicalPath(p)
		if err != nil {
			return fmt.Errorf("path %q: %w", shorten(p), err)
		}
		if err := checkStars(pattern); err != nil {
			return fmt.Errorf("path %q: %w", shorten(p), err)
		}
		r.Paths[i] = pattern
		c.paths = append(c.paths, compilePath(pattern), compilePath(unslash(pattern)))
	}
	return nil
}

// exact reports whether the rule grants only some of the requests to its
// host.
func (r Rule) exact() bool { return len(r.Methods) > 0 || len(r.Paths) > 0 }

// checkStars refuses stars that would mean less than they look like: within a
// segment "**" crosses no slash.
func checkStars(pattern string) error {
	segments := strings.Split(pattern, "/")
	odd := false
	for i, s := range segments {
		if s == "**" || !strings.Contains(s, "**") {
			continue
		}
		odd = true
		single := s
		for strings.Contains(single, "**") {
			single = strings.ReplaceAll(single, "**", "*")
		}
		switch {
		case single == "*":
			segments[i] = "**"
		case i == len(segments)-1 && strings.HasSuffix(s, "**"):
			segments[i] = single + "/**"
		default:
			segments[i] = single
		}
	}
	if odd {
		return fmt.Errorf("** stands for any number of segments and alone between slashes; write %s", shorten(strings.Join(segments, "/")))
	}
	return nil
}

// compilePath turns a pattern into an expression for whole paths.
func compilePath(pattern string) *regexp.Regexp {
	var out strings.Builder
	for segment := range strings.SplitSeq(pattern[1:], "/") {
		if segment == "**" {
			out.WriteString("(?:/.*)?")
			continue
		}
		out.WriteByte('/')
		for i, literal := range strings.Split(segment, "*") {
			if i > 0 {
				out.WriteString("[^/]*")
			}
			out.WriteString(regexp.QuoteMeta(literal))
		}
	}
	return regexp.MustCompile(`\A(?:` + out.String() + `)\z`)
}

// unslash undoes escaped slashes. Some servers do and some do not: a path is
// granted only if it is in both readings.
func unslash(path string) string { return strings.ReplaceAll(path, "%2F", "/") }

// grantsPath reports whether one of the rule's paths is path.
func (c compiled) grantsPath(path string) bool {
	plain := unslash(path)
	for i := 0; i < len(c.paths); i += 2 {
		if c.paths[i].MatchString(path) && c.paths[i+1].MatchString(plain) {
			return true
		}
	}
	return len(c.paths) == 0
}

// grantsRequest reports whether the rule grants the request a.
func (c compiled) grantsRequest(a carrel.Action) bool {
	path, _, _ := strings.Cut(string(a.URL), "?")
	return (len(c.rule.Methods) == 0 || slices.Contains(c.rule.Methods, a.Method)) &&
		c.grantsPath(path) && (a.Upgrade == "" || a.Upgrade == "websocket" && c.rule.WebSocket)
}

// Exact reports whether requests to a destination are decided one by one:
// every rule for it says methods or paths.
func (rs *Rules) Exact(host string, port int) bool {
	matched := rs.matches(host, port)
	for _, c := range matched {
		if !c.rule.exact() {
			return false
		}
	}
	return len(matched) > 0
}

// Inspects reports whether the rules alone make the door look at each request
// to a destination: to decide it, or because plain http shows it anyway. host
// may be a pattern of a rule.
func (rs *Rules) Inspects(host string, port int) bool {
	return rs.Protocol(host, port) == carrel.ProtoHTTP || rs.Exact(host, port)
}

// decideRequest answers a request to a destination that rules match.
func decideRequest(a carrel.Action, matched []compiled) carrel.Decision {
	for _, c := range matched {
		if c.grantsRequest(a) {
			return allow(c, carrel.ProtoHTTP)
		}
	}
	path, _, _ := strings.Cut(string(a.URL), "?")
	d := deny("egress/request", fmt.Sprintf("%s is granted by %s, and that is not %s %s", a.Host, matched[0].rule, a.Method, shorten(path)))
	if a.Upgrade != "" {
		d = deny("egress/upgrade", fmt.Sprintf("nothing lets a request to %s switch to %s", a.Host, shorten(a.Upgrade)))
	}
	switch {
	case strings.Contains(path, "*"): // which in a rule stands for more than itself
		d.NextSteps = []string{"no rule grants a path with * by itself: a person has to decide what it may stand for"}
	case len(path) > maxShown:
		d.NextSteps = []string{"a person may add a rule for this path, which carrel policy learn writes down after the run"}
	default:
		d.NextSteps = []string{"a person may add to the configuration: " + narrowest(a, path)}
		if c := matched[0]; c.name == "" && !c.prefix.IsSingleIP() {
			d.NextSteps[0] += fmt.Sprintf("; for %s that counts instead of %s", a.Host, c.rule)
		}
	}
	return d
}

// maxShown is the longest path that a proposed rule is shown with: one that is
// cut grants nothing.
const maxShown = 1000

// narrowest is the smallest rule that grants the request a.
func narrowest(a carrel.Action, path string) string {
	more := ""
	if a.Port != 443 {
		more = fmt.Sprintf(", ports: [%d]", a.Port)
	}
	if a.Protocol != protocolOf("", a.Port) {
		more += ", protocol: " + string(a.Protocol)
	}
	if a.Upgrade == "websocket" {
		more += ", websocket: true"
	}
	return fmt.Sprintf("egress: [{host: %s%s, methods: [%s], paths: [%q]}]", a.Host, more, a.Method, readable(path))
}

// readable is a path as people write it in a rule, where that means the same.
func readable(path string) string {
	plain, err := url.PathUnescape(path)
	if err != nil || strings.Contains(plain, "*") {
		return path
	}
	if again, err := canonicalPath(plain); err != nil || again != path {
		return path
	}
	return plain
}
