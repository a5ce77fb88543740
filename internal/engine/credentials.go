//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/credential"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// lending is what a run lends of the configured credentials.
type lending struct {
	chosen []config.Value[config.Credential]
	rules  *credential.Rules
	text   []byte   // canonical, of chosen
	notes  []string // what was asked for and is not lent, or leads nowhere
}

// chooseCredentials picks what the configuration always lends, and what the
// repository or a flag names.
func (v *visit) chooseCredentials() (l lending, err error) {
	origins := map[string]config.Origin{}
	asked := slices.Concat(v.settings.Named, v.opts.Credentials)
	var defs []credential.Definition
	var plain []config.Credential
	for _, c := range v.settings.Credentials {
		name := c.Value.Name
		if first, twice := origins[name]; twice {
			return l, fmt.Errorf("%s: credential %s is already defined at %s", c.Origin, name, first)
		}
		origins[name] = c.Origin
		if c.Value.Lend == "named" && !slices.Contains(asked, name) {
			continue
		}
		d, err := v.definition(c.Value)
		if err == nil {
			_, err = credential.NewRules([]credential.Definition{d}, egress.Paths)
		}
		if err != nil {
			return l, fmt.Errorf("%s: %w", c.Origin, err)
		}
		if first, taken := l.takenBy(c.Value.As); taken {
			return l, fmt.Errorf("%s: credential %s: as: %s is already where credential %s is found (%s), and holds one", c.Origin, name, c.Value.As.Env+c.Value.As.File, first.Value.Name, first.Origin)
		}
		l.chosen, defs, plain = append(l.chosen, c), append(defs, d), append(plain, c.Value)
		plain[len(plain)-1].From = config.Key{} // nothing is decided by it, and evidence shows the text to others
	}
	for _, name := range v.opts.Credentials {
		if _, ok := origins[name]; !ok {
			return l, fmt.Errorf("--credential %s: there is none of this name in your configuration (%s)", name, v.e.host.Paths.UserConfig)
		}
	}
	for _, name := range v.settings.Named {
		if _, ok := origins[name]; !ok {
			l.notes = append(l.notes, fmt.Sprintf("the repository asks for the credential %s, which your configuration does not have", name))
		}
	}
	if l.rules, err = credential.NewRules(defs, egress.Paths); err != nil {
		return l, err
	}
	l.text, err = carrel.Canonical(plain)
	return l, err
}

// takenBy returns the chosen credential that the agent finds in the same place:
// the later one would hide it without a word.
func (l lending) takenBy(as config.As) (config.Value[config.Credential], bool) {
	i := slices.IndexFunc(l.chosen, func(c config.Value[config.Credential]) bool {
		return as.Env+as.File != "" && c.Value.As.Env == as.Env && c.Value.As.File == as.File
	})
	if i < 0 {
		return config.Value[config.Credential]{}, false
	}
	return l.chosen[i], true
}

// definition turns an entry of the configuration into one of the package that
// carries it out.
func (v *visit) definition(c config.Credential) (d credential.Definition, err error) {
	d = credential.Definition{Name: c.Name, For: time.Duration(c.For)}
	for _, p := range c.Places() {
		d.Bindings = append(d.Bindings, credential.Binding{Host: p.Host, Port: p.Port, Header: p.Header, Basic: p.Basic, Query: p.Query,
			Methods: p.Methods, Paths: p.Paths, Own: p.Own})
	}
	switch k := c.From; {
	case k.Env != "":
		d.Source = credential.FromEnv(k.Env, v.e.host.lookup)
	case k.File != "":
		d.Source = credential.FromFile(k.File, v.ws.Root())
	default:
		d.Source, err = v.commandSource(k.Command)
	}
	if err != nil {
		return d, err
	}
	v.e.unlogged(d.Source)
	return d, nil
}

// commandSource runs a program of the host that is none of the workspace's.
func (v *visit) commandSource(command []string) (*credential.Source, error) {
	program, err := v.hostProgram(command[0])
	if err != nil {
		return nil, err
	}
	return credential.FromCommand(append([]string{program}, command[1:]...), helperEnvironment(v.e.host.Environ))
}

// hostProgram finds a program on the host's PATH, outside the workspace: what
// lies there may be the agent's.
func (v *visit) hostProgram(name string) (string, error) {
	dirs := []string{""}
	if !filepath.IsAbs(name) {
		if strings.Contains(name, "/") {
			return "", fmt.Errorf("%s: say the program's name or its absolute path", name)
		}
		path, _ := v.e.host.lookup("PATH")
		dirs = filepath.SplitList(path)
	}
	for _, dir := range dirs {
		program := filepath.Join(dir, name)
		info, err := os.Stat(program)
		if !filepath.IsAbs(program) || err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			continue
		}
		real, err := filepath.EvalSymlinks(program)
		if err != nil || within(real, v.ws.Root()) || within(program, v.ws.Root()) {
			continue
		}
		return program, nil
	}
	return "", fmt.Errorf("%s: there is no such program on the PATH outside the workspace", name)
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// helperVariables are what a program that knows a key needs of the user's
// environment: who, where, which language, and how to reach a keyring. No
// other key is among them.
var helperVariables = []string{
	"HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
	"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
	"GNUPGHOME", "GPG_TTY", "SSH_AUTH_SOCK", "DISPLAY", "WAYLAND_DISPLAY", "PASSWORD_STORE_DIR",
	"GH_CONFIG_DIR", "GH_HOST", "AWS_PROFILE", "AWS_REGION", "AWS_CONFIG_FILE", "CLOUDSDK_CONFIG", "KUBECONFIG",
	"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

func helperEnvironment(environ []string) []string {
	var out []string
	for _, kv := range environ {
		if name, _, _ := strings.Cut(kv, "="); slices.Contains(helperVariables, name) {
			out = append(out, kv)
		}
	}
	return out
}

// credentialLayer is the user's word on the use of credentials: the network
// rules for the model door's key, the entries of the configuration for the
// rest.
func credentialLayer(rules *egress.Rules, lent lending, grants []byte) policy.Layer {
	return policy.Layer{
		Name: "credential", Kind: policy.User, Governs: []carrel.Operation{carrel.OpCredential}, Text: slices.Concat(grants, []byte("\n"), lent.text),
		Func: func(a carrel.Action) policy.Answer {
			decide := lent.rules.Decide
			if a.Service != "" {
				decide = rules.Decide
			}
			d := decide(a)
			for i, r := range d.Rules {
				d.Rules[i] = strings.TrimPrefix(strings.TrimPrefix(r, "credential/"), "egress/")
			}
			return policy.Answer{Verdict: d.Verdict, Rules: d.Rules, Reason: d.Reason, NextSteps: d.NextSteps}
		},
	}
}

// lend puts the chosen credentials in force and hands their placeholders in.
// One that cannot be had is not lent, and the user is told; the run goes on
// without it.
func (v *visit) lend(ctx context.Context) error {
	for _, c := range v.lent.chosen {
		placeholder, err := v.leases.Lend(ctx, c.Value.Name)
		switch {
		case errors.Is(err, gate.ErrStopped), errors.Is(err, gate.ErrUnrecorded):
			return err
		case err != nil:
			fmt.Fprintf(v.e.host.Stderr, "carrel: not lent: %s\n", terminal.Escape(err.Error()))
			continue
		}
		if err := v.handIn(c.Value, placeholder); err != nil {
			return fmt.Errorf("credential %s: %w", c.Value.Name, err)
		}
	}
	return nil
}

// shutMemory keeps core files and other processes of this user away from what
// this process knows. A limit of one byte, unlike zero, also keeps a core from
// the programs that hosts pipe them to.
func shutMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("closing this process to debuggers: %w", err)
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil {
		return fmt.Errorf("forbidding core files: %w", err)
	}
	core.Cur = min(core.Max, 1)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &core); err != nil {
		return fmt.Errorf("forbidding core files: %w", err)
	}
	return nil
}
