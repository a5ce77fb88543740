package egress

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel"
)

// ParseAllow understands HOST, HOST:PORT and HOST:PORT/PROTOCOL. An IPv6
// address with a port is written in brackets.
func ParseAllow(s string) (Rule, error) {
	if strings.Contains(s, "://") {
		return Rule{}, notURL(s)
	}
	hostport, protocol, _ := strings.Cut(s, "/")
	r := Rule{Host: hostport, Protocol: carrel.Protocol(protocol)}
	if strings.HasSuffix(s, "/") {
		return Rule{}, fmt.Errorf("%q: write HOST, HOST:PORT or HOST:PORT/tcp", s)
	}
	if host, port, ok := cutPort(hostport); ok {
		n, err := parsePort(port)
		if err != nil {
			return Rule{}, fmt.Errorf("%q: %w", s, err)
		}
		r.Host, r.Ports = host, []int{n}
	}
	compiled, err := compile(r)
	if err != nil {
		return Rule{}, err
	}
	return compiled.rule, nil
}

// notURL says how to write what a URL was given for.
func notURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("%q is a URL: write HOST, HOST:PORT or HOST:PORT/tcp", shorten(s))
	}
	r := Rule{Host: u.Hostname()}
	if strings.Contains(r.Host, ":") {
		r.Host = "[" + r.Host + "]"
	}
	switch port := u.Port(); {
	case port != "":
		r.Host += ":" + port
		if u.Scheme == "http" && port != "80" {
			r.Protocol = carrel.ProtoHTTP
		}
	case u.Scheme == "http":
		r.Host += ":80"
	}
	hint := ""
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		hint = fmt.Sprintf("; for one path only, put a rule into the configuration: egress: [{host: %s, paths: [%q]}]", u.Hostname(), u.EscapedPath())
	}
	return fmt.Errorf("%q is a URL, and destinations are allowed by host and port: write %s%s", shorten(u.Redacted()), r, hint)
}

// cutPort splits a port off; an IPv6 address without brackets has none.
func cutPort(s string) (host, port string, ok bool) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, "", false
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), "", false
	}
	host, port = s[:i], s[i+1:]
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		if trimmed, closed := strings.CutSuffix(inner, "]"); closed {
			host = trimmed
		}
	}
	return host, port, true
}

// parsePort accepts 1 to 65535 in plain digits.
func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%q is not a port (1 to 65535)", s)
	}
	return int(n), nil
}
