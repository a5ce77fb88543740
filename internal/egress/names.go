package egress

import (
	"container/list"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxNames bounds the names a desk can hold at once: a wildcard must not
	// let a program inside grow the supervisor without end.
	maxNames = 32_768
	// minAge is how long an address keeps its name after it was last given
	// out or used, whatever the answer's time to live said: programs cache.
	minAge = time.Hour
)

// synthetic is RFC 2544's range for measuring inside one network: no public
// host has an address in it.
var synthetic = netip.MustParsePrefix("198.18.0.0/15")

// errNoAddress is returned when every synthetic address is in use.
var errNoAddress = errors.New("the desk holds too many names; end connections or start a new run")

// names gives each allowed name one synthetic address and remembers it.
type names struct {
	mu     sync.Mutex
	byName map[string]*list.Element // of *entry
	byAddr map[netip.Addr]*list.Element
	order  *list.List // least recently used first
	max    int
	now    func() time.Time
}

type entry struct {
	name    string
	addr    netip.Addr
	live    int // connections
	used    time.Time
	decided time.Time // when the desk was last granted to know it
}

func newNames() *names {
	return &names{
		byName: make(map[string]*list.Element), byAddr: make(map[netip.Addr]*list.Element),
		order: list.New(), max: maxNames, now: time.Now,
	}
}

// address returns the address of name, giving it one if it has none.
func (n *names) address(name string) (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if el, ok := n.byName[name]; ok {
		n.touch(el)
		e := el.Value.(*entry)
		e.decided = e.used
		return e.addr, nil
	}
	addr, err := n.free()
	if err != nil {
		return netip.Addr{}, err
	}
	now := n.now()
	el := n.order.PushBack(&entry{name: name, addr: addr, used: now, decided: now})
	n.byName[name], n.byAddr[addr] = el, el
	return addr, nil
}

// recent returns the address of a name whose answer still stands: the desk
// may keep it for answerTTL, so asking again within that time tells it nothing
// that it was not granted.
func (n *names) recent(name string) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	el, ok := n.byName[name]
	if !ok {
		return netip.Addr{}, false
	}
	e := el.Value.(*entry)
	if n.now().Sub(e.decided) >= answerTTL*time.Second {
		return netip.Addr{}, false
	}
	n.touch(el)
	return e.addr, true
}

// forget makes every name be decided anew: what is granted has changed.
func (n *names) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for el := n.order.Front(); el != nil; el = el.Next() {
		el.Value.(*entry).decided = time.Time{}
	}
}

// free returns an unused address, or takes the one that was idle longest, if
// it has been for minAge and has no connection.
func (n *names) free() (netip.Addr, error) {
	if used := n.order.Len(); used < n.max {
		return syntheticAddr(used + 1), nil
	}
	for el := n.order.Front(); el != nil; el = el.Next() {
		e := el.Value.(*entry)
		if n.now().Sub(e.used) < minAge {
			break
		}
		if e.live > 0 {
			continue
		}
		n.order.Remove(el)
		delete(n.byName, e.name)
		delete(n.byAddr, e.addr)
		return e.addr, nil
	}
	return netip.Addr{}, errNoAddress
}

func syntheticAddr(i int) netip.Addr {
	b := synthetic.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(i))
	return netip.AddrFrom4(b)
}

func (n *names) touch(el *list.Element) {
	el.Value.(*entry).used = n.now()
	n.order.MoveToBack(el)
}

// name returns the name of addr, "" if it has none.
func (n *names) name(addr netip.Addr) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if el, ok := n.byAddr[addr]; ok {
		return el.Value.(*entry).name
	}
	return ""
}

// hold returns the name of addr and keeps its address until release.
func (n *names) hold(addr netip.Addr) (name string, release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	el, ok := n.byAddr[addr]
	if !ok {
		return "", func() {}
	}
	e := el.Value.(*entry)
	e.live++
	n.touch(el)
	return e.name, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		e.live--
		n.touch(el)
	}
}
