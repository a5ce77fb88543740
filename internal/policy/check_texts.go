package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// prefixes finds tests that hold for more than they name: a path without its
// slash, a host without its dot.
func (c *checker) prefixes(r *ast.Rule) {
	for _, t := range c.testsOf(r) {
		if closes(r, t) {
			continue
		}
		var tried []carrel.Action
		message := "startswith(input.path, %q) holds for neighbours too; end it with a slash"
		switch {
		case t.field == "path" && t.function == "startswith" && !strings.HasSuffix(t.text, "/"):
			tried = append(c.files(t.text+"x/evil", t.text+"-other/evil"), c.requests(t.text+"x/evil")...)
		case t.field == "host" && t.function == "endswith" && !strings.HasPrefix(t.text, "."):
			message = "endswith(input.host, %q) holds for other people's names too; begin it with a dot, or compare whole names"
			tried = c.hosts("evil" + t.text)
		case t.field == "host" && (t.function == "startswith" || t.function == "contains"):
			message = "a host that begins with or holds %q may be anybody's; compare its end, or whole names"
			tried = c.hosts(strings.Trim(t.text, ".")+".evil.test", "x."+strings.Trim(t.text, ".")+".evil.test")
		case t.field == "path" && t.function == "contains":
			message = "contains(input.path, %q) holds anywhere in a path; use startswith, or input.parts"
			tried = append(c.files("/workspace/evil/"+strings.Trim(t.text, "/")+"/x"), c.requests("/evil/"+strings.Trim(t.text, "/")+"/x")...)
			tried = slices.DeleteFunc(tried, func(carrel.Action) bool { return r.Head.Name != "allow" })
		case t.field == "url" && t.function == "startswith" && !strings.HasSuffix(t.text, "/"):
			message = "startswith(input.url, %q) holds for neighbours too; end it with a slash, or compare input.path"
			tried = c.requests(t.text + "x/evil")
		case t.field == "url" && t.function == "contains":
			message = "contains(input.url, %q) holds in a query too; compare the beginning of input.path"
			tried = c.requests("/evil?x=" + t.text)
		}
		for _, a := range tried {
			if c.own(a).Verdict == carrel.Allow {
				c.show("prefix-without-end", t.at, a, message, t.text)
			}
		}
	}
}

// closes reports whether a test only ever makes a rule deny or ask: one that
// holds for too much is no hole there.
func closes(r *ast.Rule, t test) bool {
	return !t.negated && (r.Head.Name == "deny" || r.Head.Name == "ask")
}

func (c *checker) hosts(hosts ...string) []carrel.Action {
	var out []carrel.Action
	for _, op := range c.report.Governs {
		for _, host := range hosts {
			if slices.Contains([]carrel.Operation{carrel.OpResolve, carrel.OpConnect}, op) && checkHost(host) == nil {
				out = append(out, hostProbes(op, words{"host": {host}})...)
			}
		}
	}
	urls := append([]string{"/"}, c.spoken["path"]...)
	out = slices.DeleteFunc(out, func(a carrel.Action) bool { return !slices.Contains(hosts, a.Host) })
	return append(out, c.requestsTo(hosts, append(urls, c.spoken["url"]...))...)
}

// requests are for these paths and queries, to the hosts that the policy names.
func (c *checker) requests(urls ...string) []carrel.Action {
	hosts := []string{"example.com"}
	for _, text := range c.spoken["host"] {
		hosts = append(hosts, strings.Trim(matched(text), "."), "sub."+strings.Trim(matched(text), "."))
	}
	return c.requestsTo(hosts, urls)
}

func (c *checker) requestsTo(hosts, urls []string) []carrel.Action {
	if !slices.Contains(c.report.Governs, carrel.OpRequest) {
		return nil
	}
	methods := append([]string{"GET", "POST"}, c.spoken["method"]...)
	var out []carrel.Action
	for _, host := range hosts[:min(len(hosts), maxTried)] {
		for _, method := range methods[:min(len(methods), maxTried)] {
			for _, url := range urls[:min(len(urls), maxTried)] {
				a := carrel.Action{Operation: carrel.OpRequest, Host: host, Port: 443, Protocol: carrel.ProtoTLS, Method: method, URL: carrel.Text(url)}
				if _, err := newInput(a); err == nil {
					out = append(out, a)
				}
			}
		}
	}
	return out
}

// queries finds a denial of a request that the same with a query gets past.
func (c *checker) queries(r *ast.Rule) {
	for _, t := range c.testsOf(r) {
		if r.Head.Name == "allow" || t.field != "url" || !slices.Contains([]string{"equal", "eq", "endswith"}, t.function) {
			continue
		}
		for _, a := range c.requests(t.text, "/x"+t.text) {
			more := a
			more.URL += "?x=1"
			if stopped(c.own(a)) && c.own(more).Verdict == carrel.Allow {
				c.show("query-let-by", t.at, more, "the same with a query is let by; compare input.path, which has none, with %q", t.text)
			}
		}
	}
}

// below finds a denial of a host that its subdomains get past.
func (c *checker) below(r *ast.Rule) {
	for _, x := range r.Body {
		ref, value, ok := equality(x)
		if !ok || r.Head.Name == "allow" || ref.String() != "input.host" {
			continue
		}
		host, _ := value.Value.(ast.String)
		for _, named := range c.hosts(string(host)) {
			sub := named
			sub.Host = "sub." + named.Host
			if checkHost(sub.Host) == nil && stopped(c.own(named)) && c.own(sub).Verdict == carrel.Allow {
				c.show("not-below", x.Location, sub, "names below %s are let by; compare with endswith(input.host, %q) too", host, "."+string(host))
			}
		}
	}
}
