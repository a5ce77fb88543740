//go:build linux

package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/git"
)

// gitIdentity is who the agent's commits inside are by: the user, as the
// configuration or git knows them. Those commits never leave the desk; an
// apply asks git anew. Without a name the desk has a plain one.
func (v *visit) gitIdentity(ctx context.Context) (config.Identity, error) {
	if set := v.settings.Identity; set.IsSet() {
		return set.Value, nil
	}
	if v.repo == nil {
		return config.Identity{}, nil
	}
	remembered := v.identityFile()
	if id, ok := recallIdentity(remembered); ok {
		return id, nil
	}
	id, err := v.repo.Identity(ctx, v.e.host.Environ)
	if err != nil && !errors.Is(err, git.ErrNoIdentity) {
		return config.Identity{}, err
	}
	known := config.Identity{Name: id.Name, Email: id.Email}
	raw, err := json.Marshal(known)
	if err == nil && remembered != "" {
		remember(remembered, raw)
	}
	return known, err
}

// otherIdentity says whose name a commit on a branch bears where the repository
// has settings of its own about that: those are whoever made it, and do not
// count. "" where there is nothing to tell.
func (e *Engine) otherIdentity(ctx context.Context, repo *git.Repo) string {
	if repo == nil {
		return ""
	}
	name, email := repo.OwnIdentity()
	if name == "" && email == "" {
		return ""
	}
	own, err := repo.Identity(ctx, e.host.Environ)
	if err != nil || (name == "" || name == own.Name) && (email == "" || email == own.Email) {
		return "" // what is missing apply says
	}
	return fmt.Sprintf("commits are by %s <%s>, as your own git settings say; the repository's settings (%s <%s>) do not count, since whoever makes a repository writes them. If they are yours: git config --global includeIf.gitdir:%s/.path FILE, with the name and e-mail in FILE",
		own.Name, own.Email, cmp.Or(name, own.Name), cmp.Or(email, own.Email), repo.Top)
}

// identityFile names what git answered for exactly these settings, since
// asking it takes as long as all the walls of a short run; "" where the
// settings include others, which only git can follow.
func (v *visit) identityFile() string {
	home := v.e.host.Home
	xdg, ok := v.e.host.lookup("XDG_CONFIG_HOME")
	if !ok || xdg == "" {
		xdg = filepath.Join(home, ".config")
	}
	var all bytes.Buffer
	for _, path := range []string{"/etc/gitconfig", "/usr/local/etc/gitconfig", filepath.Join(xdg, "git/config"), filepath.Join(home, ".gitconfig"), filepath.Join(v.repo.Common, "config")} {
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return ""
		}
		all.WriteString(path + "\x00")
		all.Write(content)
	}
	if bytes.Contains(bytes.ToLower(all.Bytes()), []byte("[include")) {
		return ""
	}
	return v.e.state("identities", carrel.DigestBytes(all.Bytes()).Hex()+".json")
}

func recallIdentity(path string) (id config.Identity, ok bool) {
	raw, ok := recall(path)
	return id, ok && json.Unmarshal(raw, &id) == nil
}
