package policy

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

func refusedBy(rule string, a carrel.Action) Refused {
	return Refused{Action: a, Decision: carrel.Decision{Verdict: carrel.Deny, Rules: []string{rule}, Reason: "no"}, Record: 7, Times: 2}
}

// What was refused for want of a grant is proposed, as narrow as it was asked
// for, with how often.
func TestNarrowestGrantsAreLearned(t *testing.T) {
	get := carrel.Action{Operation: carrel.OpRequest, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/a/b?secret=1"}
	put := get
	put.Method = "PUT"
	l, err := Learn([]Refused{
		refusedBy("egress/unnamed", carrel.Action{Operation: carrel.OpConnect, Host: "db.test", Port: 5432, Protocol: carrel.ProtoTCP}),
		refusedBy("egress/unnamed", carrel.Action{Operation: carrel.OpResolve, Host: "new.test", Protocol: carrel.ProtoDNS}),
		refusedBy("egress/request", get), refusedBy("egress/request", put), refusedBy("egress/request", get),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `egress:
    # refused 2 times; first connect db.test, record 7 of the log
    - host: db.test
      ports: [5432]
      protocol: tcp
    # refused 2 times; first resolve new.test; the port is a guess, because only the name was asked for, record 7 of the log
    - host: new.test
      ports: [443]
      protocol: tls
    # refused 4 times; first request ok.test /a/b?secret=1, record 7 of the log
    # rules that name ok.test count instead of one with a wildcard or a prefix: repeat for it
    # what such a rule grants, or change that rule and leave this out
    - host: ok.test
      ports: [443]
      protocol: tls
      methods: [GET]
      paths: [/a/b]
    # refused 2 times; first request ok.test /a/b?secret=1, record 7 of the log
    - host: ok.test
      ports: [443]
      protocol: tls
      methods: [PUT]
      paths: [/a/b]
`
	if string(l.Config) != want || l.Rules != 4 || len(l.Left) != 0 {
		t.Errorf("%d rules, left %q:\n%s", l.Rules, l.Left, l.Config)
	}
}

// An agent gets no grant proposed by asking in a way that no grant allows: a
// request for another host than the connection's, a path with two readings, an
// address that is never dialled, a placeholder in a wrong place.
func TestWrongWaysOfAskingTeachNothing(t *testing.T) {
	connect := carrel.Action{Operation: carrel.OpConnect, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS}
	request := carrel.Action{Operation: carrel.OpRequest, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/a/**"}
	upgrade := request
	upgrade.URL, upgrade.Upgrade = "/a", "websocket"
	for rule, a := range map[string]carrel.Action{
		"egress/host-header": connect, "egress/path": connect, "egress/server-name": connect, "egress/ech": connect, "egress/not-tls": connect,
		"egress/address": connect, "egress/withdrawn": connect, "egress/upload": connect, "egress/inspection": connect, "egress/protocol": connect,
		"egress/metadata": {Operation: carrel.OpConnect, Host: "169.254.169.254", Port: 80, Protocol: carrel.ProtoHTTP},
		"egress/request":  request, "egress/upgrade": upgrade, "credential/misplaced": {Operation: carrel.OpCredential, Host: "ok.test", Port: 443},
	} {
		l, err := Learn([]Refused{refusedBy(rule, a), refusedBy(rule, a)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Config) > 0 || len(l.Rego) > 0 || len(l.Left) != 1 || !strings.Contains(l.Left[0], "no (") {
			t.Errorf("%s: left %q, rego %q:\n%s", rule, l.Left, l.Rego, l.Config)
		}
	}
}
