package risk

import (
	"path"
	"strings"
	"sync"
)

// pattern is one pattern of a rule, taken apart.
type pattern struct {
	rule  *pathRule
	want  []string
	below bool // it names a directory: everything below counts
}

// patternIndex finds the patterns that can fit by the name they end in.
type patternIndex struct {
	byLast map[string][]pattern
	globs  []pattern
}

// patterns is built on first use: a run that changes nothing needs none.
var patterns = sync.OnceValue(func() patternIndex {
	idx := patternIndex{byLast: map[string][]pattern{}}
	for i := range pathRules {
		for _, text := range pathRules[i].patterns {
			p := pattern{rule: &pathRules[i]}
			text, p.below = strings.CutSuffix(text, "/**")
			p.want = strings.Split(text, "/")
			if last := p.want[len(p.want)-1]; strings.Contains(last, "*") {
				idx.globs = append(idx.globs, p)
			} else {
				idx.byLast[last] = append(idx.byLast[last], p)
			}
		}
	}
	return idx
})

func byPath(f File, out *collector) {
	parts := strings.Split(f.lower(), "/")
	idx := patterns()
	add := func(p pattern) {
		if !exceptions[p.rule.label][parts[len(parts)-1]] {
			out.add(p.rule.label, p.rule.severity, p.rule.reason)
		}
	}
	for end := 1; end <= len(parts); end++ {
		for _, p := range idx.byLast[parts[end-1]] {
			if p.fits(parts, end) {
				add(p)
			}
		}
	}
	for _, p := range idx.globs {
		for end := 1; end <= len(parts); end++ {
			if p.fits(parts, end) {
				add(p)
				break
			}
		}
	}
}

// fits reports whether the pattern matches the components that end at end:
// all of the path, or for a directory a true part of it. A directory that is
// itself part of the change counts as what is below it.
func (p pattern) fits(parts []string, end int) bool {
	if !p.below && end != len(parts) || end < len(p.want) {
		return false
	}
	for i, want := range p.want {
		part := parts[end-len(p.want)+i]
		if want == part {
			continue
		}
		if !glob(want, part) {
			return false
		}
	}
	return true
}

// glob is path.Match, after a look at what stands before the first star: most
// names differ there.
func glob(want, part string) bool {
	star := strings.IndexByte(want, '*')
	if star < 0 || len(part) < star || part[:star] != want[:star] {
		return false
	}
	if rest := want[star+1:]; !strings.Contains(rest, "*") {
		return len(part) >= star+len(rest) && strings.HasSuffix(part, rest)
	}
	ok, _ := path.Match(want, part)
	return ok
}
