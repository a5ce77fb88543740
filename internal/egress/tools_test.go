package egress

import (
	"testing"

	"github.com/carrel-dev/carrel"
)

// TestToolHostIsThereOnlyWhereAClientAsks: at its one port, and nothing else
// of the host's may take its name.
func TestToolHostIsThereOnlyWhereAClientAsks(t *testing.T) {
	with, err := NewRules(Grants{Tools: true})
	if err != nil {
		t.Fatal(err)
	}
	without, err := NewRules(Grants{Model: "https://model.example"})
	if err != nil {
		t.Fatal(err)
	}
	connect := carrel.Action{Operation: carrel.OpConnect, Host: ToolHost, Port: 80, Protocol: carrel.ProtoHTTP}
	other := connect
	other.Port, other.Protocol = 443, carrel.ProtoTLS
	for _, c := range []struct {
		rules  *Rules
		action carrel.Action
		want   carrel.Verdict
	}{
		{with, carrel.Action{Operation: carrel.OpResolve, Host: ToolHost}, carrel.Allow},
		{with, connect, carrel.Allow},
		{with, other, carrel.Deny},
		{with, carrel.Action{Operation: carrel.OpRequest, Host: ToolHost, Port: 80, Protocol: carrel.ProtoHTTP, Method: "GET", URL: "/"}, carrel.Deny},
		{without, carrel.Action{Operation: carrel.OpResolve, Host: ToolHost}, carrel.Deny},
		{without, connect, carrel.Deny},
	} {
		if d := c.rules.Decide(c.action); d.Verdict != c.want {
			t.Errorf("%s %s:%d: %s, want %s", c.action.Operation, c.action.Host, c.action.Port, d.Verdict, c.want)
		}
	}
	if ports := with.Ports(); len(ports) != 1 || ports[0] != 80 {
		t.Errorf("ports %v", ports)
	}
	if _, err := ParseService("tools=127.0.0.1:8080"); err == nil {
		t.Error("a service of the host may take the name")
	}
}
