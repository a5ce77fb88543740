package verify

import (
	"cmp"
	"slices"

	"github.com/carrel-dev/carrel"
)

// Bounds of what a statement lists one by one. What is left out is counted,
// and the trace then does not call itself complete.
const (
	maxDestinations = 2000
	maxProcesses    = 500
)

// Listing bounds what a statement lists by its size as well: an agent chooses
// its words, and none must make a statement larger than a bundle can be. The
// zero value is ready to use.
type Listing struct{ size int }

const (
	maxListing   = 256 << 10 // of texts, which take up to six times as much in JSON
	listingEntry = 32        // of the least text
)

// Fits reports whether texts can be listed, and counts them if so.
func (l *Listing) Fits(texts ...string) bool {
	size := l.size
	for _, t := range texts {
		size += listingEntry + len(t)
	}
	if size > maxListing {
		return false
	}
	l.size = size
	return true
}

// Reached is what records say that a run wanted of the world outside. The zero
// value is ready to use, by one goroutine.
type Reached struct {
	Processes []TracedProcess
	Omitted   int64 // starts and destinations that are not listed

	destinations map[Destination]*Destination
	listed       Listing
}

// Add takes a record of the run into account, in the log's order.
func (o *Reached) Add(r *carrel.Record) {
	switch r.Kind {
	case carrel.KindIntent:
		o.action(r.Action, true, 1)
	case carrel.KindObservation:
		if r.Action != nil && r.Repeats == 0 {
			o.action(r.Action, true, 1)
		}
	case carrel.KindRefused:
		o.action(r.Action, false, 1+r.Repeats)
	}
}

func (o *Reached) action(a *carrel.Action, allowed bool, times int64) {
	switch a.Operation {
	case carrel.OpExec:
		words := append([]string{a.Path}, texts(a.Argv)...)
		if len(o.Processes) == maxProcesses || !o.listed.Fits(words...) {
			o.Omitted++
			return
		}
		verdict := carrel.Deny
		if allowed {
			verdict = carrel.Allow
		}
		o.Processes = append(o.Processes, TracedProcess{Path: a.Path, Argv: a.Argv, Verdict: verdict})
	case carrel.OpResolve, carrel.OpConnect, carrel.OpRequest:
		o.destination(Destination{Operation: a.Operation, Host: a.Host, Port: a.Port, Protocol: a.Protocol}, allowed, times)
	}
}

func (o *Reached) destination(key Destination, allowed bool, times int64) {
	d := o.destinations[key]
	if d == nil && (len(o.destinations) == maxDestinations || !o.listed.Fits(key.Host)) {
		o.Omitted += times
		return
	}
	if d == nil {
		if o.destinations == nil {
			o.destinations = map[Destination]*Destination{}
		}
		counted := key
		d = &counted
		o.destinations[key] = d
	}
	if allowed {
		d.Allowed += times
	} else {
		d.Refused += times
	}
}

// Destinations lists what was reached or refused, sorted.
func (o *Reached) Destinations() []Destination {
	out := make([]Destination, 0, len(o.destinations))
	for _, d := range o.destinations {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out
}

func texts(list []carrel.Text) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = string(t)
	}
	return out
}
