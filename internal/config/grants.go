package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel"
)

// Grant is one thing a repository asks for. Kind and Value are canonical: two
// spellings of one wish are one grant.
type Grant struct {
	Kind  string `json:"kind"`  // egress, service, env, ro, credential or cache
	Value string `json:"value"` // what exactly, in one line
	Line  int    `json:"-"`     // in the repository's file, for showing
}

// String is the grant as people read it, attributed and safe to show.
func (g Grant) String() string {
	where := ""
	if g.Line > 0 {
		where = fmt.Sprintf(" (%s:%d)", RepositoryPath, g.Line)
	}
	return fmt.Sprintf("the repository asks for %s %s%s", g.Kind, cut(g.Value), where)
}

// Grants lists what a repository's file asks for, sorted, each once.
func Grants(repo *File) []Grant {
	var out []Grant
	repo = orEmpty(repo)
	for _, v := range repo.Egress {
		out = append(out, Grant{"egress", canonicalEgress(v.Value), v.Origin.Line})
	}
	for _, v := range repo.Services {
		out = append(out, Grant{"service", v.Value.Name + "=" + v.Value.Address, v.Origin.Line})
	}
	for _, v := range repo.Env {
		out = append(out, Grant{"env", v.Value, v.Origin.Line})
	}
	for _, v := range repo.RO {
		out = append(out, Grant{"ro", v.Value, v.Origin.Line})
	}
	for _, v := range repo.Credentials {
		out = append(out, Grant{"credential", v.Value.Name, v.Origin.Line})
	}
	for _, v := range repo.Cache {
		out = append(out, Grant{"cache", v.Value, v.Origin.Line})
	}
	slices.SortStableFunc(out, func(a, b Grant) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value)) })
	return slices.CompactFunc(out, Grant.same)
}

func (g Grant) same(h Grant) bool { return g.Kind == h.Kind && g.Value == h.Value }

func canonicalEgress(e Egress) string {
	ports := slices.Clone(e.Ports)
	slices.Sort(ports)
	var words []string
	for _, p := range slices.Compact(ports) {
		words = append(words, fmt.Sprint(p))
	}
	s := strings.ToLower(strings.TrimSuffix(e.Host, "."))
	if len(words) > 0 {
		s += ":" + strings.Join(words, ",")
	}
	if e.Protocol != "" {
		s += " " + e.Protocol
	}
	if e.ECH {
		s += " ech"
	}
	for _, a := range slices.Sorted(slices.Values(e.Addresses)) {
		s += " at " + a
	}
	for _, m := range slices.Sorted(slices.Values(e.Methods)) {
		s += " " + strings.ToUpper(m)
	}
	for _, p := range slices.Sorted(slices.Values(e.Paths)) {
		s += " " + strconv.Quote(p)
	}
	if e.WebSocket {
		s += " websocket"
	}
	if e.Upload > 0 {
		s += fmt.Sprintf(" upload %d", e.Upload)
	}
	return s
}

// GrantsDigest names a list of grants: what the user accepts.
func GrantsDigest(grants []Grant) (carrel.Digest, error) {
	if grants == nil {
		grants = []Grant{}
	}
	b, err := carrel.Canonical(grants)
	if err != nil {
		return "", fmt.Errorf("digesting the repository's grants: %w", err)
	}
	return carrel.DigestBytes(b), nil
}
