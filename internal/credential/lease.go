package credential

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Config says for whom credentials are lent.
type Config struct {
	Run   carrel.RunID
	Agent string
	Rules *Rules // nil: none
}

// Leases are the credentials in force for one run: what the agent holds in
// their place, and the door's way to put the real ones in and take them out
// again. Its methods are safe for concurrent use.
type Leases struct {
	gate *gate.Gate
	cfg  Config

	mu   sync.RWMutex
	list []*lease
}

// New returns leases that ask g about every one and every use.
func New(g *gate.Gate, cfg Config) *Leases { return &Leases{gate: g, cfg: cfg} }

// lease is one credential in force.
type lease struct {
	def         Definition
	placeholder string
	expires     time.Time
	held        *texts // finds the placeholder

	mu     sync.Mutex
	values []string // every secret the source gave, the newest last
	hide   atomic.Pointer[texts]
}

// Lend puts a credential in force and returns the placeholder that the agent
// gets for it, different in every run. It is an action of its own: the log
// has its scope and expiry before the source is asked for the first time.
func (ls *Leases) Lend(ctx context.Context, name string) (placeholder string, err error) {
	d, ok := ls.cfg.Rules.find(name)
	if !ok {
		return "", fmt.Errorf("credential %s: there is none of this name in your configuration", name)
	}
	l := &lease{def: d, expires: time.Now().Add(d.For).UTC().Truncate(time.Second)}
	a := ls.action(name)
	a.Reason = carrel.Text(leaseReason + l.expires.Format(time.RFC3339) + ": " + d.scope())
	_, err = ls.gate.Do(ctx, a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		secret, err := l.secret(ctx, g, a)
		if err != nil {
			return carrel.Outcome{}, err
		}
		l.placeholder = newPlaceholder(secret, l.expires)
		l.held = &texts{spellings(l.placeholder, l.placeholder)}
		l.learn(secret)
		return carrel.Outcome{Facts: map[string]carrel.Text{"source": carrel.Text(d.Source.Where())}}, nil
	})
	if err != nil {
		return "", fmt.Errorf("credential %s: %w", name, err)
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.list = append(ls.list, l)
	return l.placeholder, nil
}

// scope shows every binding in one line.
func (d Definition) scope() string {
	var out []string
	for _, b := range d.Bindings {
		out = append(out, b.String())
	}
	return strings.Join(out, "; ")
}

func (ls *Leases) action(name string) carrel.Action {
	return carrel.Action{ID: carrel.NewActionID(), Run: ls.cfg.Run, Agent: ls.cfg.Agent, Operation: carrel.OpCredential, Subject: name}
}

// minSecret is the shortest key that can be told apart from other text in an
// answer.
const minSecret = 8

// secret asks the source for an action that g covers.
func (l *lease) secret(ctx context.Context, g gate.Grant, a carrel.Action) (string, error) {
	v, err := l.def.Source.Get(ctx, g, a, false)
	if err != nil {
		return "", err
	}
	if len(v.Reveal()) < minSecret {
		return "", fmt.Errorf("key from %s: it has fewer than %d characters, and could not be found again in answers; use a longer one", l.def.Source.Where(), minSecret)
	}
	l.learn(v.Reveal())
	return v.Reveal(), nil
}

// maxValues bounds the secrets of one lease that are taken out of answers:
// sources rotate their keys every few minutes at most.
const maxValues = 64

// learn makes sure that secret is taken out of answers.
func (l *lease) learn(secret string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := len(l.values) > 0 && l.values[len(l.values)-1] == secret
	if !known {
		l.values = append(l.values, secret)
		l.values = l.values[max(0, len(l.values)-maxValues):]
	}
	if l.placeholder == "" || known && l.hide.Load() != nil {
		return
	}
	t := &texts{}
	for _, v := range l.values {
		t.list = append(t.list, spellings(v, l.placeholder)...)
	}
	l.hide.Store(t)
}

// all returns what is in force.
func (ls *Leases) all() []*lease {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return ls.list[:len(ls.list):len(ls.list)]
}

// at returns the leases that are bound to a destination.
func (ls *Leases) at(host string, port int) (out []*lease) {
	for _, l := range ls.all() {
		for _, b := range l.def.Bindings {
			if b.Host == host && b.Port == port {
				out = append(out, l)
				break
			}
		}
	}
	return out
}

// Bound reports whether a credential goes to this destination, so that what
// is said there has to be read.
func (ls *Leases) Bound(host string, port int) bool { return ls.cfg.Rules.Bound(host, port) }

// errAllowed is a fault that some decider let through: nothing is sent all
// the same.
var errAllowed = errors.New("a misuse of a credential was not refused; nothing was sent")

// refuse puts a misuse to the gate, which refuses and records it.
func (ls *Leases) refuse(ctx context.Context, a carrel.Action) error {
	_, err := ls.gate.Do(ctx, a, func(context.Context, gate.Grant) (carrel.Outcome, error) {
		return carrel.Outcome{}, errAllowed
	})
	if err == nil {
		err = errAllowed
	}
	return err
}
