//go:build linux

package engine

import (
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// handIn puts a placeholder where the agent's programs look for a key.
func (v *visit) handIn(c config.Credential, placeholder string) error {
	if c.As.Env != "" {
		v.setVariable(c.As.Env, c.As.Fill(placeholder))
	}
	if c.As.File != "" {
		if err := v.setFile(c.As.File, c.As.Fill(placeholder), c.Name); err != nil {
			return err
		}
	}
	for _, p := range c.Places() {
		if p.Basic != "" {
			v.addToGit(gitHelper(p, placeholder))
		}
	}
	return nil
}

// setVariable replaces or adds a variable of the desk, in order.
func (v *visit) setVariable(name, value string) {
	v.plan.Env = slices.DeleteFunc(slices.Clone(v.plan.Env), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	v.plan.Env = append(v.plan.Env, name+"="+value)
	slices.Sort(v.plan.Env)
}

// setFile shows a file in the desk's home, over what may be there. Where the
// home is a directory of the host, the place to show it at is made first.
func (v *visit) setFile(name, content, credential string) error {
	inHome := strings.TrimPrefix(name, "~/")
	if home := v.homeDir(); home != "" && !v.opts.DryRun {
		if err := v.makePlace(home, inHome); err != nil {
			return err
		}
	}
	v.plan.Mounts = append(v.plan.Mounts, sandbox.Mount{Kind: sandbox.MountFile, Target: path.Join(v.plan.Home, inHome),
		Content: []byte(content), Why: "placeholder of the credential " + credential})
	return nil
}

// makePlace makes an empty file in a home that the agent may have filled with
// anything: nothing is followed out of it.
func (v *visit) makePlace(home, name string) error {
	root, err := os.OpenRoot(home)
	if err != nil {
		return fmt.Errorf("opening the desk's home: %w", err)
	}
	defer root.Close()
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("making ~/%s in the desk's home: %w", path.Dir(name), err)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making ~/%s in the desk's home: %w; carrel run --home discard begins with an empty one", name, err)
	}
	if err := f.Close(); err != nil || !v.who.Borrowed {
		return err
	}
	for dir := name; dir != "."; dir = path.Dir(dir) {
		if err := root.Lchown(dir, v.who.Outside, v.who.Group); err != nil {
			return err
		}
	}
	return nil
}

// addToGit adds lines to the desk's git configuration.
func (v *visit) addToGit(lines string) {
	for i, m := range v.plan.Mounts {
		if m.Target == "/etc/gitconfig" && m.Kind == sandbox.MountFile {
			v.plan.Mounts = slices.Clone(v.plan.Mounts)
			v.plan.Mounts[i].Content = append(slices.Clone(m.Content), lines...)
			return
		}
	}
}

// gitHelper answers git's question for a password with the placeholder.
func gitHelper(p config.Place, placeholder string) string {
	host := p.Host
	if p.Port != 0 && p.Port != 443 {
		host = net.JoinHostPort(host, strconv.Itoa(p.Port))
	}
	script := fmt.Sprintf("!f() { test \"$1\" = get && printf 'username=%%s\\npassword=%%s\\n' %s %s; }; f", hook.ShellWord(p.Basic), hook.ShellWord(placeholder))
	return fmt.Sprintf("[credential \"https://%s\"]\n\thelper = \"%s\"\n", host, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(script))
}

// forges are hosts whose repositories have the same name over SSH and HTTPS.
var forges = []string{"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"}

// sshOverHTTPS leads git@HOST: remotes to HTTPS, where requests are decided
// and keys are added, unless a rule grants SSH to the host.
func (v *visit) sshOverHTTPS() {
	hosts := slices.Clone(forges)
	for _, c := range v.lent.chosen {
		for _, p := range c.Value.Places() {
			if p.Basic != "" && (p.Port == 0 || p.Port == 443) {
				hosts = append(hosts, p.Host)
			}
		}
	}
	slices.Sort(hosts)
	for _, h := range slices.Compact(hosts) {
		if reaches(v.rules, h, 443) && !reaches(v.rules, h, 22) {
			v.addToGit(fmt.Sprintf("[url \"https://%s/\"]\n\tinsteadOf = git@%s:\n\tinsteadOf = ssh://git@%s/\n", h, h, h))
		}
	}
}

func reaches(rules *egress.Rules, host string, port int) bool {
	_, ok := rules.Match(host, port)
	return ok
}

// leads says which credentials no network rule lets go anywhere.
func (l *lending) leads(rules *egress.Rules) {
	for _, c := range l.chosen {
		for _, p := range c.Value.Places() {
			port := p.Port
			if port == 0 {
				port = 443
			}
			switch r, ok := rules.Match(p.Host, port); {
			case !ok:
				l.notes = append(l.notes, fmt.Sprintf("the credential %s goes to %s:%d, which no rule lets the agent reach: carrel run --allow %s", c.Value.Name, p.Host, port, egress.Rule{Host: p.Host, Ports: portsOf(p)}))
			case r.Protocol != "" && r.Protocol != carrel.ProtoTLS:
				l.notes = append(l.notes, fmt.Sprintf("the credential %s is never sent to %s:%d, where the rule speaks %s and not tls", c.Value.Name, p.Host, port, r.Protocol))
			}
		}
	}
}

// destinations are where the credentials go.
func (l lending) destinations() []egress.Destination {
	var out []egress.Destination
	for _, d := range l.rules.Definitions() {
		for _, b := range d.Bindings {
			out = append(out, egress.Destination{Host: b.Host, Port: b.Port})
		}
	}
	return out
}

func portsOf(p config.Place) []int {
	if p.Port == 0 || p.Port == 443 {
		return nil
	}
	return []int{p.Port}
}

// lines says what is lent, one line each.
func (l lending) lines() []string {
	var out []string
	for _, d := range l.rules.Definitions() {
		for _, b := range d.Bindings {
			out = append(out, fmt.Sprintf("credential %s (a placeholder; the key is from %s and goes to %s)", d.Name, d.Source.Where(), b))
		}
	}
	return out
}

// showPlaceholders tells a dry run where placeholders would be.
func (v *visit) showPlaceholders() error {
	for _, c := range v.lent.chosen {
		if err := v.handIn(c.Value, "<placeholder of "+c.Value.Name+">"); err != nil {
			return err
		}
	}
	return nil
}

// keyLine tells the agent of one credential: its name, where its placeholder
// is, and where it goes.
func keyLine(c config.Credential) string {
	s := c.Name
	if where := c.As.Env + c.As.File; where != "" {
		s += " in " + where
	}
	var to []string
	for _, p := range c.Places() {
		to = append(to, strings.Join(slices.Concat([]string{p.Host}, p.Methods, p.Paths), " "))
	}
	return s + " for " + strings.Join(to, ", ")
}
