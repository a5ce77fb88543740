package git

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Identity is the host user, as the user's own settings have it: the global
// and the system's configuration, never a repository's.
type Identity struct {
	Name, Email string
	Sign        bool              // the user signs commits
	Format      string            // of signatures: openpgp, ssh or x509
	settings    map[string]string // gpg.* and user.signingkey
	env         []string
}

// userEnv lists the variables of the user's environment that settings and
// signing programs need.
var userEnv = map[string]bool{
	"HOME": true, "XDG_CONFIG_HOME": true, "XDG_RUNTIME_DIR": true, "PATH": true, "USER": true, "LOGNAME": true,
	"GNUPGHOME": true, "GPG_TTY": true, "SSH_AUTH_SOCK": true, "SSH_ASKPASS": true, "TERM": true, "LANG": true,
	"DISPLAY": true, "WAYLAND_DISPLAY": true, "DBUS_SESSION_BUS_ADDRESS": true, "PINENTRY_USER_DATA": true,
}

// ErrNoIdentity says that the user never told git who they are.
var ErrNoIdentity = errors.New("your own git settings hold no name and e-mail, and a repository's do not count; run: git config --global user.name '…' and git config --global user.email '…'")

// Identity reads who commits. environ is the host user's environment, as
// os.Environ has it. Conditional includes of the user's settings see this
// repository's directory.
func (r *Repo) Identity(ctx context.Context, environ []string) (Identity, error) {
	id := Identity{Format: "openpgp", settings: make(map[string]string)}
	for _, v := range environ {
		if name, _, ok := strings.Cut(v, "="); ok && userEnv[name] {
			id.env = append(id.env, v)
		}
	}
	values := make(map[string]string)
	for _, scope := range []string{"--system", "--global"} {
		if err := r.readScope(ctx, scope, id.env, values); err != nil {
			return Identity{}, fmt.Errorf("reading your git settings: %w", err)
		}
	}
	id.take(values)
	if id.Name == "" || id.Email == "" {
		return Identity{}, ErrNoIdentity
	}
	return id, nil
}

// OwnIdentity is who the repository's own settings say commits: a claim of
// whoever made the repository, read as data. Empty where they say nothing.
func (r *Repo) OwnIdentity() (name, email string) {
	for _, file := range []string{filepath.Join(r.Common, "config"), filepath.Join(r.Dir, "config.worktree")} {
		content, err := readSmall(file)
		if err != nil {
			continue
		}
		values := parseConfig(content)
		name, email = cmp.Or(cleanIdent(values["user.name"]), name), cmp.Or(cleanIdent(values["user.email"]), email)
	}
	return name, email
}

// readScope lists one file of the user's settings with its includes.
func (r *Repo) readScope(ctx context.Context, scope string, env []string, values map[string]string) error {
	// Here alone the rows that hide the user's settings are lifted: they are
	// read, and nothing else happens.
	c := call{gitDir: r.Dir, command: []string{"config", scope, "--includes", "--null", "--list"}, env: env, inherit: true}
	out, err := run(ctx, c)
	var exit *exitError
	if errors.As(err, &exit) && strings.Contains(exit.said, "No such file") {
		return nil
	}
	if err != nil {
		return err
	}
	for row := range bytes.SplitSeq(out, []byte{0}) {
		if name, value, ok := strings.Cut(string(row), "\n"); ok {
			values[name] = value
		} else if name != "" {
			values[name] = "true"
		}
	}
	return nil
}

// take picks what committing needs, as git weighs it.
func (id *Identity) take(values map[string]string) {
	first := func(names ...string) string {
		for _, n := range names {
			if values[n] != "" {
				return cleanIdent(values[n])
			}
		}
		return ""
	}
	id.Name, id.Email = first("user.name"), first("user.email")
	id.Sign = isTrue(values["commit.gpgsign"])
	if f := values["gpg.format"]; f != "" {
		id.Format = f
	}
	for _, name := range []string{"gpg.format", "gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program", "gpg.ssh.defaultkeycommand", "user.signingkey"} {
		if v, ok := values[name]; ok {
			id.settings[name] = v
		}
	}
}

// cleanIdent drops what cannot stand in an author line, as git does.
func cleanIdent(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == '<' || r == '>' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	return strings.Trim(s, " .,:;\"'\\")
}

// signing returns the settings a signing command needs: the user's own,
// instead of the table's programs that do nothing.
func (id Identity) signing() []string {
	program := map[string]string{"gpg.program": "gpg", "gpg.ssh.program": "ssh-keygen", "gpg.x509.program": "gpgsm"}
	for name, value := range id.settings {
		program[name] = value
	}
	if own, ok := id.settings["gpg.openpgp.program"]; ok {
		program["gpg.program"] = own
	}
	delete(program, "gpg.openpgp.program")
	var out []string
	for name, value := range program {
		out = append(out, name+"="+value)
	}
	return out
}
