package egress

import (
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

// 106, 107: one canonical form; what could be read in two ways is refused.
func TestHostSpellings(t *testing.T) {
	for in, want := range map[string]string{
		"ok.test": "ok.test", "OK.TEST": "ok.test", "ok.test.": "ok.test", "xn--bcher-kva.test": "xn--bcher-kva.test",
		"93.184.216.34": "93.184.216.34", "::ffff:93.184.216.34": "93.184.216.34", "2606:4700::1111": "2606:4700::1111",
		"2606:4700:0:0:0:0:0:1111": "2606:4700::1111", "a-b.c1": "a-b.c1", "localhost": "localhost",
	} {
		if got, err := CanonicalHost(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ".", "..", "ok..test", ".ok.test", "ok.test..", "ok.test:443", "user@ok.test", "ok.test@evil.test",
		"ok.test%2eevil.test", `ok.test\.evil.test`, "ok.test/evil", "ok.test evil.test", " ok.test", "ok.test\n", "ok.test\r",
		"evil.test\x00.ok.test", "оk.test", "ok\u00ad.test", "ok\u200b.test", "bücher.test", "ok。test", "ｏk.test",
		"-ok.test", "ok-.test", "o_k.test", "*.ok.test", "[::1]", "fe80::1%eth0", "127.1", "2130706433", "0x7f.0.0.1", "0x7f000001",
		"0177.0.0.1", "1.2.3.4.5", "1.2.3", "ok.1", "ok.0x1f", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 127) + "test",
	} {
		if got, err := CanonicalHost(in); err == nil {
			t.Errorf("%q was taken for %q", in, got)
		}
	}
}

func FuzzCanonicalHost(f *testing.F) {
	f.Add("ok.test.")
	f.Add("::ffff:1.2.3.4")
	f.Fuzz(func(t *testing.T, s string) {
		host, err := CanonicalHost(s)
		if err != nil {
			return
		}
		if again, err := CanonicalHost(host); err != nil || again != host {
			t.Errorf("%q became %q, which becomes %q, %v", s, host, again, err)
		}
		if strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.:") != "" {
			t.Errorf("%q became %q", s, host)
		}
	})
}

// What is written in a host's place by mistake is told how to be written.
func TestWhatIsNoHostIsExplained(t *testing.T) {
	for host, want := range map[string]string{
		"https://a.test/x": "write a.test", "a.test:8443": "{host: a.test, ports: [8443]}", "a*.test": "*.example.org", "*": "*.example.org", "*.*.a.test": "*.example.org",
		"a.test/x": "no slash", "10.0.0.0/33": "10.0.0.0/8", "10.0.0.1/8": "write 10.0.0.0/8", "[2606:4700::1111]:443": "{host: 2606:4700::1111, ports: [443]}",
	} {
		_, err := NewRules(Grants{Rules: []Rule{{Host: host}}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "invalid") || strings.Contains(err.Error(), "netip") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestParseAllow(t *testing.T) {
	for in, want := range map[string]string{
		"ok.test": "ok.test:443", "OK.test.:8443": "ok.test:8443", "ok.test:80": "ok.test:80", "*.ok.test": "*.ok.test:443",
		"db.test:5432/tcp": "db.test:5432/tcp", "ok.test:8080/http": "ok.test:8080/http", "ok.test/http": "ok.test:80/http",
		"93.184.216.34:22/tcp": "93.184.216.34/32:22/tcp", "[2606:4700::1111]:443": "2606:4700::1111/128:443", "2606:4700::1111": "2606:4700::1111/128:443",
	} {
		got, err := ParseAllow(in)
		want = strings.NewReplacer("/32", "", "/128", "").Replace(want)
		if err != nil || got.String() != want {
			t.Errorf("%q: %v, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ":443", "ok.test:", "ok.test:0", "ok.test:65536", "ok.test:99999", "ok.test:-1", "ok.test:+443", "ok.test:0443", "ok.test:443:443",
		"ok.test:https", "ok.test/", "ok.test:443/", "ok.test:443/udp", "ok.test/tcp", "http://ok.test", "https://ok.test/", "*", "*.test", "*.*.ok.test",
		"ok.*.test", "a*.ok.test", "*.10.0.0.1", "db.desk", "model.desk", "x.y.desk", "desk", "*.a.desk", "169.254.169.254", "[fd00:ec2::254]:80", "::ffff:169.254.169.254", "ok.test:53",
		"localhost:5432", "127.0.0.1:80", "[::1]:80", "x.localhost", "::ffff:127.0.0.1",
	} {
		if got, err := ParseAllow(in); err == nil {
			t.Errorf("%q was taken for %s", in, got)
		}
	}
}

func TestRulesAreStrict(t *testing.T) {
	for name, r := range map[string]Rule{
		"zero": {}, "loose prefix": {Host: "10.0.0.1/8"}, "ech typo": {Host: "ok.test", ECH: "yes"},
		"addresses of an address": {Host: "10.0.0.1", Addresses: []string{"10.0.0.1"}}, "bad address": {Host: "ok.test", Addresses: []string{"10.0.0"}},
		"metadata by name": {Host: "ok.test", Addresses: []string{"169.254.169.254"}}, "port 0": {Host: "ok.test", Ports: []int{0}},
		"udp": {Host: "ok.test", Protocol: "udp"}, "dns": {Host: "ok.test", Protocol: carrel.ProtoDNS},
	} {
		if _, err := NewRules(Grants{Rules: []Rule{r}}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, s := range []string{"db", "db=", "=h:1", "db=host", "db=host:0", "d.b=host:1", "DB=host:1", "model=host:1", "db=ho st:1", "db=169.254.169.254:80", "db=h:53"} {
		if got, err := ParseService(s); err == nil {
			t.Errorf("%q was taken for %s", s, got)
		}
	}
	for _, s := range []string{"db=127.0.0.1:5432", "db=localhost:5432", "web-1=10.0.0.5:80", "v6=[::1]:80"} {
		if got, err := ParseService(s); err != nil || got.String() != s {
			t.Errorf("%q: %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"ftp://x.test", "https://", "https://u:p@x.test", "https://x.test?a=1", "x.test", "https://x.test:0", "https://bücher.test"} {
		if _, err := NewRules(Grants{Model: s}); err == nil {
			t.Errorf("model endpoint %q was accepted", s)
		}
	}
}

func TestMatchIsMostSpecific(t *testing.T) {
	rs, err := NewRules(Grants{Rules: []Rule{
		{Host: "*.ok.test", Ports: []int{443, 8443}}, {Host: "*.a.ok.test", Protocol: carrel.ProtoTCP, Ports: []int{8443}},
		{Host: "x.a.ok.test", Protocol: carrel.ProtoHTTP, Ports: []int{8443}}, {Host: "93.184.0.0/16"}, {Host: "93.184.216.34", Protocol: carrel.ProtoTCP, Ports: []int{443, 22}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host string
		port int
		want carrel.Protocol
	}{
		{"b.ok.test", 443, carrel.ProtoTLS}, {"b.ok.test", 8443, carrel.ProtoTLS}, {"b.a.ok.test", 8443, carrel.ProtoTCP},
		{"b.a.ok.test", 443, carrel.ProtoTLS}, {"x.a.ok.test", 8443, carrel.ProtoHTTP}, {"93.184.1.1", 443, carrel.ProtoTLS}, {"93.184.216.34", 443, carrel.ProtoTCP},
		{"ok.test", 443, ""}, {"xok.test", 443, ""}, {"b.ok.test.evil.test", 443, ""}, {"b.ok.test", 22, ""}, {"93.185.1.1", 443, ""}, {"93.184.1.1", 22, ""},
	} {
		_, ok := rs.Match(c.host, c.port)
		if ok != (c.want != "") || ok && rs.Protocol(c.host, c.port) != c.want {
			t.Errorf("%s:%d matched %v as %s, want %q", c.host, c.port, ok, rs.Protocol(c.host, c.port), c.want)
		}
		d := rs.Decide(carrel.Action{Operation: carrel.OpConnect, Host: c.host, Port: c.port, Protocol: rs.Protocol(c.host, c.port)})
		if d.Allows() != ok || d.Reason == "" || len(d.Rules) == 0 || (!ok && len(d.NextSteps) == 0) {
			t.Errorf("%s:%d decided %+v", c.host, c.port, d)
		}
	}
	for _, p := range []carrel.Protocol{carrel.ProtoTCP, carrel.ProtoHTTP, "udp", ""} {
		if rs.Decide(carrel.Action{Operation: carrel.OpConnect, Host: "b.ok.test", Port: 443, Protocol: p}).Allows() {
			t.Errorf("a rule for tls allows %q", p)
		}
	}
	if got := rs.Ports(); !slices.Equal(got, []int{22, 443, 8443}) {
		t.Errorf("ports %v", got)
	}
}

// The narrowest rule a denial proposes must be one that is accepted and helps.
func TestNextStepHelps(t *testing.T) {
	rs, _ := NewRules(Grants{})
	for _, a := range []carrel.Action{
		{Operation: carrel.OpConnect, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS}, {Operation: carrel.OpConnect, Host: "ok.test", Port: 80, Protocol: carrel.ProtoHTTP},
		{Operation: carrel.OpConnect, Host: "ok.test", Port: 22, Protocol: carrel.ProtoTCP}, {Operation: carrel.OpResolve, Host: "ok.test", Protocol: carrel.ProtoDNS},
	} {
		d := rs.Decide(a)
		if d.Allows() || len(d.NextSteps) != 1 {
			t.Fatalf("%+v", d)
		}
		r, err := ParseAllow(strings.TrimPrefix(d.NextSteps[0], "carrel run --allow "))
		if err != nil {
			t.Errorf("%s proposes %q: %v", a.Host, d.NextSteps[0], err)
			continue
		}
		granted, err := NewRules(Grants{Rules: []Rule{r}})
		if err != nil || !granted.Decide(a).Allows() {
			t.Errorf("%q does not help %+v: %v", d.NextSteps[0], a, err)
		}
	}
	d := rs.Decide(carrel.Action{Operation: carrel.OpConnect, Host: "2606:4700::1111", Port: 22, Protocol: carrel.ProtoTCP})
	if len(d.NextSteps) != 1 || strings.Contains(d.NextSteps[0], "--allow") { // it would not help
		t.Errorf("%+v", d)
	}
}

func TestZeroRulesDenyEverything(t *testing.T) {
	var none *Rules
	for _, rs := range []*Rules{none, {}} {
		for _, op := range Operations {
			for _, host := range []string{"ok.test", "model.desk", "db.desk", "127.0.0.1", ""} {
				if d := rs.Decide(carrel.Action{Operation: op, Host: host, Port: 443, Protocol: carrel.ProtoTLS}); d.Allows() {
					t.Errorf("%s %s: %+v", op, host, d)
				}
			}
		}
	}
}

// An agent's model and services are no licence for what stands behind them.
func TestWhatStandsBehindADeskNameIsNotGrantedByItself(t *testing.T) {
	rs, err := NewRules(Grants{Model: "https://api.model.test/v1", Services: []Service{{"db", "127.0.0.1", 5432}}})
	if err != nil {
		t.Fatal(err)
	}
	connect := func(host string, port int, p carrel.Protocol, service string) bool {
		return rs.Decide(carrel.Action{Operation: carrel.OpConnect, Host: host, Port: port, Protocol: p, Service: service}).Allows()
	}
	const model, db = "model=https://api.model.test/v1", "db=127.0.0.1:5432"
	for _, no := range []bool{
		connect("api.model.test", 443, carrel.ProtoTLS, ""), connect("127.0.0.1", 5432, carrel.ProtoTCP, ""), connect("127.0.0.1", 5432, carrel.ProtoTCP, db),
		connect("db.desk", 5433, carrel.ProtoTCP, db), connect("db.desk", 5432, carrel.ProtoTCP, ""), connect("model.desk", 443, carrel.ProtoTLS, model),
		connect("evil.test", 443, carrel.ProtoTLS, model), connect("api.model.test", 22, carrel.ProtoTCP, model), connect("other.desk", 5432, carrel.ProtoTCP, db),
	} {
		if no {
			t.Error("granted")
		}
	}
	if !connect("db.desk", 5432, carrel.ProtoTCP, db) || !connect("model.desk", 80, carrel.ProtoHTTP, model) || !connect("api.model.test", 443, carrel.ProtoTLS, model) {
		t.Error("the door or the service itself is refused")
	}
	use := carrel.Action{Operation: carrel.OpCredential, Host: "api.model.test", Port: 443, Protocol: carrel.ProtoTLS, Service: model}
	if !rs.Decide(use).Allows() {
		t.Error("the key may not be used at its endpoint")
	}
	use.Host = "evil.test"
	if rs.Decide(use).Allows() {
		t.Error("the key may be used elsewhere")
	}
}

// A bare IPv6 address swallows its port: what to write is said.
func TestServiceSaysHowAnIPv6AddressIsWritten(t *testing.T) {
	if _, err := ParseService("db=::1:5432"); err == nil || !strings.Contains(err.Error(), "db=[::1]:5432") {
		t.Error(err)
	}
	if s, err := ParseService("db=[::1]:5432"); err != nil || s.Host != "::1" || s.Port != 5432 {
		t.Errorf("%+v, %v", s, err)
	}
}
