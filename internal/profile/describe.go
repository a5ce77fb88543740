package profile

import (
	"fmt"
	"strings"
)

// Describe says what a profile gives, one line each, for the question whether
// to use it. The text is the profile's own and must be escaped where profiles
// are not built in.
func (p Profile) Describe() []string {
	var out []string
	if m := p.Model; m != nil {
		out = append(out, fmt.Sprintf("the model at %s through Carrel: the key is taken from %s, stays outside, and is added on the way", m.Endpoint, m.sources()))
	}
	var always, login []string
	for _, d := range p.Egress {
		if d.Login {
			login = append(login, d.String())
		} else {
			always = append(always, d.String())
		}
	}
	if len(always) > 0 {
		out = append(out, "these destinations: "+strings.Join(always, ", "))
	}
	if len(login) > 0 {
		out = append(out, "if no key is found, for a login of its own: "+strings.Join(login, ", "))
	}
	if p.Home.Keep {
		out = append(out, "a home of its own, kept for this workspace, first filled with "+p.Home.filledWith())
	}
	for _, v := range p.Env {
		out = append(out, fmt.Sprintf("%s=%s: %s", v.Name, v.Value, v.Why))
	}
	return append(out, p.Notes...)
}

func (m Model) sources() string {
	var names []string
	for _, k := range m.Keys {
		switch {
		case k.Env != "":
			names = append(names, k.Env)
		case k.Helper != "":
			names = append(names, "the command in "+k.Helper)
		default:
			names = append(names, k.File)
		}
	}
	if len(names) == 0 {
		return "your configuration"
	}
	return strings.Join(names, ", ")
}

func (h Home) filledWith() string {
	var parts []string
	for _, f := range h.Fill {
		parts = append(parts, fmt.Sprintf("~/%s (%s)", f.Path, f.Why))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// String writes a destination as people do: host, and the ports where they
// are not the protocol's.
func (d Destination) String() string {
	s := d.Host
	for i, p := range d.Ports {
		s += map[bool]string{true: ":", false: ","}[i == 0] + fmt.Sprint(p)
	}
	return s
}
