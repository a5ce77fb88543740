package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// ruleCache is the evaluator's cache of what rules gave within one question.
// The evaluator's own is a tree of maps, which costs a policy of a few rules
// more than evaluating them: here a frame of few references is a list, and
// one of more is handed to the evaluator's. It serves one evaluation.
type ruleCache struct {
	frames []cacheFrame
	first  [1]cacheFrame // most questions have one frame
}

// cacheFrame holds what is cached below one `with`.
type cacheFrame struct {
	entries []cacheEntry
	terms   []*ast.Term // of all entries' references: the evaluator uses its own again
	many    topdown.VirtualCache
}

type cacheEntry struct {
	start, end int       // the reference is terms[start:end]
	value      *ast.Term // nil: undefined
}

// fewRules bounds how many references are looked through one by one.
const fewRules = 16

func newRuleCache() *ruleCache {
	c := &ruleCache{}
	c.first[0] = cacheFrame{entries: make([]cacheEntry, 0, 4), terms: make([]*ast.Term, 0, 20)}
	c.frames = c.first[:]
	return c
}

// Push implements topdown.VirtualCache.
func (c *ruleCache) Push() { c.frames = append(c.frames, cacheFrame{}) }

// Pop implements topdown.VirtualCache.
func (c *ruleCache) Pop() { c.frames = c.frames[:len(c.frames)-1] }

func (c *ruleCache) top() *cacheFrame { return &c.frames[len(c.frames)-1] }

// Get implements topdown.VirtualCache.
func (c *ruleCache) Get(ref ast.Ref) (*ast.Term, bool) {
	f := c.top()
	if f.many != nil {
		return f.many.Get(ref)
	}
	if e := f.find(ref); e != nil {
		return e.value, e.value == nil
	}
	return nil, false
}

// Put implements topdown.VirtualCache.
func (c *ruleCache) Put(ref ast.Ref, value *ast.Term) {
	f := c.top()
	switch e := f.find(ref); {
	case f.many != nil:
		f.many.Put(ref, value)
	case e != nil:
		e.value = value
	case len(f.entries) == fewRules:
		f.spill()
		f.many.Put(ref, value)
	default:
		start := len(f.terms)
		f.terms = append(f.terms, ref...)
		f.entries = append(f.entries, cacheEntry{start, len(f.terms), value})
	}
}

// Keys implements topdown.VirtualCache: the references with a value.
func (c *ruleCache) Keys() []ast.Ref {
	f := c.top()
	if f.many != nil {
		return f.many.Keys()
	}
	var keys []ast.Ref
	for _, e := range f.entries {
		if e.value != nil {
			keys = append(keys, ast.Ref(f.terms[e.start:e.end]))
		}
	}
	return keys
}

// find compares from the end: references mostly begin alike.
func (f *cacheFrame) find(ref ast.Ref) *cacheEntry {
next:
	for i := range f.entries {
		e := &f.entries[i]
		if e.end-e.start != len(ref) {
			continue
		}
		for at := len(ref) - 1; at >= 0; at-- {
			if !f.terms[e.start+at].Equal(ref[at]) {
				continue next
			}
		}
		return e
	}
	return nil
}

// spill moves the frame to the evaluator's cache.
func (f *cacheFrame) spill() {
	f.many = topdown.NewVirtualCache()
	for _, e := range f.entries {
		f.many.Put(ast.Ref(f.terms[e.start:e.end]), e.value)
	}
	f.entries, f.terms = nil, nil
}
