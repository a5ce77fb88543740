package view

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// stores are places in a home where programs keep credentials, mail,
// passwords and histories. Neither they nor what holds them is ever shown.
var stores = []string{
	".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config/gcloud", ".config/gh", ".config/hub", ".config/glab-cli",
	".config/op", ".config/rclone", ".config/sops", ".config/age", ".config/containers", ".config/doctl", ".config/fly", ".fly",
	".config/heroku", ".config/configstore", ".config/stripe", ".config/netlify", ".config/vercel", ".config/github-copilot",
	".config/google-chrome", ".config/chromium", ".config/BraveSoftware", ".config/microsoft-edge", ".mozilla", ".thunderbird",
	".config/Code", ".config/Cursor", ".config/Slack", ".config/discord", ".config/Signal", ".config/Bitwarden", ".config/1Password",
	".local/share/keyrings", ".local/share/kwalletd", ".password-store", ".local/share/pass", ".netrc", "_netrc", ".git-credentials",
	".config/git/credentials", ".npmrc", ".yarnrc", ".yarnrc.yml", ".pypirc", ".config/pip", ".pip", ".gem/credentials", ".local/share/gem/credentials",
	".cargo/credentials", ".cargo/credentials.toml", ".m2", ".gradle/gradle.properties", ".ivy2", ".sbt", ".nuget", ".composer/auth.json",
	".config/composer/auth.json", ".terraform.d", ".terraformrc", ".vault-token", ".pulumi", ".databrickscfg", ".boto", ".s3cfg",
	".pgpass", ".my.cnf", ".mylogin.cnf", ".config/psql", ".subversion", ".hgrc", ".cvspass", ".cache/huggingface/token", ".huggingface",
	".kaggle", ".wandb", ".config/wandb", ".openai", ".anthropic", ".config/openai", ".claude.json", ".claude/.credentials.json", ".claude/projects",
	".codex", ".gemini", ".config/goose", ".aider.conf.yml", ".cursor", ".continue", ".bash_history", ".zsh_history", ".python_history",
	".node_repl_history", ".psql_history", ".local/share/fish", ".purple", ".weechat", ".irssi", ".mutt", ".muttrc", ".msmtprc", ".mbsyncrc",
	".electrum", ".bitcoin", ".ethereum", ".config/solana", ".gnome2/keyrings", ".pki", ".putty", ".rhosts", ".Xauthority", ".ICEauthority",
}

// systemStores are the same outside homes, and what is no place of files.
var systemStores = []string{
	"/proc", "/sys", "/dev", "/run", "/var/run", "/boot", "/root", "/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private",
	"/etc/pki/tls/private", "/etc/sudoers", "/etc/sudoers.d", "/etc/krb5.keytab", "/etc/letsencrypt", "/etc/kubernetes", "/etc/rancher",
	"/etc/docker", "/etc/wireguard", "/etc/NetworkManager", "/var/lib/docker", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/sss",
	"/var/log", "/var/spool", "/var/mail", "/var/backups", "/lost+found",
}

// mayHoldProjects are those of systemStores in which a project can lie: the
// home of root, and what is made anew at every start.
var mayHoldProjects = []string{"/root", "/run", "/var/run"}

// refuse says why a host path must not be shown: it is or holds the home, a
// credential store or Carrel's own state, or is no plain file or directory.
func (b *builder) refuse(path string) error {
	if path == "/" || path == "/home" {
		return fmt.Errorf("it holds everybody's files")
	}
	if b.Home != "" && within(b.Home, path) {
		return fmt.Errorf("it is or holds the home %s", b.Home)
	}
	if err := b.refuseStore(path); err != nil {
		return err
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !fi.IsDir() && !fi.Mode().IsRegular() {
		return fmt.Errorf("it is no plain file or directory (%s)", fi.Mode().Type())
	}
	if name := socketIn(path); fi.IsDir() && name != "" {
		return fmt.Errorf("it holds the socket %s, and a socket can be spoken to through a read-only mount", name)
	}
	return nil
}

// maxListed bounds how much of a directory is looked at for sockets.
const maxListed = 1024

// socketIn returns the name of a socket that lies directly in a directory.
func socketIn(dir string) string {
	f, err := os.Open(dir)
	if err != nil {
		return ""
	}
	defer f.Close()
	entries, _ := f.ReadDir(maxListed)
	for _, e := range entries {
		if e.Type()&os.ModeSocket != 0 {
			return e.Name()
		}
	}
	return ""
}

// refuseWorkspace says why a directory cannot be worked in: what it holds the
// agent would read.
func (b *builder) refuseWorkspace() error {
	ws := b.Workspace
	if !filepath.IsAbs(ws) || ws == "/" || ws == "/home" || b.Home != "" && within(b.Home, ws) {
		return fmt.Errorf("it must be the directory of a project, not the home or what holds it")
	}
	for _, dir := range b.State {
		if within(ws, dir) || within(dir, ws) {
			return fmt.Errorf("it is or holds Carrel's own %s", dir)
		}
	}
	for _, s := range systemStores {
		if within(s, ws) && exists(s) || within(ws, s) && !slices.Contains(mayHoldProjects, s) && !within(ws, "/dev/shm") {
			return fmt.Errorf("it is or holds the system's %s; work in the directory of a project", s)
		}
	}
	for _, store := range b.stores {
		if within(ws, store) || within(store, ws) && exists(store) {
			return fmt.Errorf("it is or holds %s, where credentials or private data are kept; work in a directory beside it", store)
		}
	}
	return nil
}

// refuseStore is the part of refuse about stores: path is one, lies in one, or
// holds one that exists.
func (b *builder) refuseStore(path string) error {
	for _, dir := range b.State {
		if within(path, dir) || within(dir, path) {
			return fmt.Errorf("it is or holds Carrel's own %s", dir)
		}
	}
	for _, s := range systemStores {
		// The user's own home may lie in one (/root); that is checked below.
		if within(path, s) && !b.own(path) || within(s, path) && exists(s) {
			return fmt.Errorf("it is or holds %s", s)
		}
	}
	if b.Home == "" || b.Home == "/" {
		return nil
	}
	if !b.own(path) {
		return nil
	}
	for _, store := range b.stores {
		if within(path, store) || within(store, path) && exists(store) {
			return fmt.Errorf("it is or holds %s, where credentials or private data are kept", store)
		}
	}
	return nil
}
