package verify

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxPolicyLines bounds a witness policy.
const maxPolicyLines = 1000

// WitnessPolicy says whose cosignatures a checkpoint needs. It is read from
// the lines that Sigsum and Tessera have in common, with keys in the form of
// signed notes:
//
//	log VKEY [URL]
//	witness NAME VKEY [URL]
//	group NAME N|any|all MEMBER...
//	quorum NAME|none
type WitnessPolicy struct {
	Logs      []string // keys of logs that may be spoken of; none: any
	Witnesses []Witness

	parts  map[string]part
	quorum string // "": nobody is needed
}

// part is a witness or a group of parts.
type part struct {
	witness Witness
	need    int // of a group
	members []string
}

// Quorum is the policy that at least n of the given witnesses cosign. Each
// counts once.
func Quorum(n int, witnesses ...Witness) (WitnessPolicy, error) {
	p := WitnessPolicy{parts: map[string]part{}, quorum: "quorum"}
	group := part{need: n}
	for i, w := range witnesses {
		name := strconv.Itoa(i)
		if err := p.addWitness(name, w); err != nil {
			return WitnessPolicy{}, err
		}
		group.members = append(group.members, name)
	}
	if n < 1 || n > len(witnesses) {
		return WitnessPolicy{}, fmt.Errorf("a quorum of %d among %d witnesses", n, len(witnesses))
	}
	p.parts[p.quorum] = group
	return p, nil
}

func (p *WitnessPolicy) addWitness(name string, w Witness) error {
	for _, other := range p.Witnesses {
		if other.name == w.name && other.hash == w.hash || other.key.Equal(w.key) {
			return fmt.Errorf("the witness %.100q is there twice", w.name)
		}
	}
	p.Witnesses = append(p.Witnesses, w)
	return p.add(name, part{witness: w})
}

func (p *WitnessPolicy) add(name string, what part) error {
	if _, twice := p.parts[name]; twice || name == "none" {
		return fmt.Errorf("%.100q is defined twice, or is a word of its own", name)
	}
	p.parts[name] = what
	return nil
}

// ParseWitnessPolicy reads a policy. A line that is not understood is an error:
// it might have asked for more.
func ParseWitnessPolicy(text []byte) (WitnessPolicy, error) {
	p := WitnessPolicy{parts: map[string]part{}}
	lines := strings.Split(string(text), "\n")
	if len(lines) > maxPolicyLines {
		return WitnessPolicy{}, fmt.Errorf("the witness policy has more than %d lines", maxPolicyLines)
	}
	said := false
	for i, line := range lines {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		err := error(nil)
		if fields[0] != "quorum" {
			err = p.line(fields)
		} else if err = p.setQuorum(fields, said); err == nil {
			said = true
		}
		if err != nil {
			return WitnessPolicy{}, fmt.Errorf("line %d of the witness policy: %w", i+1, err)
		}
	}
	if !said {
		return WitnessPolicy{}, errors.New("the witness policy says no quorum")
	}
	return p, nil
}

func (p *WitnessPolicy) line(fields []string) error {
	switch n := len(fields); {
	case fields[0] == "log" && (n == 2 || n == 3):
		p.Logs = append(p.Logs, fields[1])
		return nil
	case fields[0] == "witness" && (n == 3 || n == 4):
		w, err := ParseWitness(fields[2])
		if err != nil {
			return err
		}
		return p.addWitness(fields[1], w)
	case fields[0] == "group" && n >= 4:
		return p.addGroup(fields[1], fields[2], fields[3:])
	}
	return fmt.Errorf("%.100q is none of log, witness, group and quorum with what follows them", fields[0])
}

func (p *WitnessPolicy) addGroup(name, need string, members []string) error {
	g := part{members: members}
	switch need {
	case "any":
		g.need = 1
	case "all":
		g.need = len(members)
	default:
		n, err := strconv.Atoi(need)
		if err != nil || n < 1 || n > len(members) {
			return fmt.Errorf("%.100q of %d members", need, len(members))
		}
		g.need = n
	}
	for i, m := range members {
		if _, ok := p.parts[m]; !ok {
			return fmt.Errorf("%.100q is not defined above", m)
		}
		if slices.Contains(members[:i], m) || p.grouped(m) {
			return fmt.Errorf("%.100q is in a group already", m)
		}
	}
	return p.add(name, g)
}

// grouped reports whether a part is a member of a group: none may count twice.
func (p *WitnessPolicy) grouped(name string) bool {
	for _, g := range p.parts {
		if slices.Contains(g.members, name) {
			return true
		}
	}
	return false
}

func (p *WitnessPolicy) setQuorum(fields []string, said bool) error {
	if len(fields) != 2 || said {
		return errors.New("there is one quorum, and it has one name")
	}
	if fields[1] == "none" {
		return nil
	}
	if _, ok := p.parts[fields[1]]; !ok {
		return fmt.Errorf("%.100q is not defined above", fields[1])
	}
	p.quorum = fields[1]
	return nil
}

// ErrQuorum says that a checkpoint lacks cosignatures.
var ErrQuorum = errors.New("too few witnesses have cosigned the checkpoint")

// Check checks a signed checkpoint of the log with the given key, and returns
// who of the policy's witnesses cosigned it. Where they are too few the error
// wraps ErrQuorum.
func (p WitnessPolicy) Check(signed []byte, key string) ([]Cosignature, error) {
	if len(p.Logs) > 0 && !slices.Contains(p.Logs, key) {
		return nil, fmt.Errorf("the witness policy does not name the log %.200s: %w", key, ErrUntrusted)
	}
	c, by, err := Cosignatures(signed, key, p.Witnesses)
	if err != nil {
		return nil, err
	}
	if !p.Satisfied(by) {
		return by, fmt.Errorf("%w of %d records: %d of the %d that the policy knows", ErrQuorum, c.Size, len(by), len(p.Witnesses))
	}
	return by, nil
}

// Satisfied reports whether cosignatures, which were checked, are enough.
func (p WitnessPolicy) Satisfied(by []Cosignature) bool {
	return p.quorum == "" || p.holds(p.quorum, by)
}

// holds ends because a group's members are defined before it.
func (p WitnessPolicy) holds(name string, by []Cosignature) bool {
	what := p.parts[name]
	if len(what.members) == 0 {
		return slices.ContainsFunc(by, func(c Cosignature) bool { return c.Witness == what.witness.name && c.Hash == what.witness.hash })
	}
	count := 0
	for _, m := range what.members {
		if p.holds(m, by) {
			count++
		}
	}
	return count >= what.need
}
