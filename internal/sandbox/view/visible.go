package view

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// secretFiles are names of files that tend to hold secrets or private
// history, by pattern.
var secretFiles = []string{
	".env", ".env.*", "*.env", ".envrc", ".direnv", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk",
	"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".npmrc", ".pypirc", ".netrc", ".git-credentials", ".htpasswd", ".pgpass",
	"credentials.json", "client_secret*.json", "service-account*.json", "service_account*.json", "secrets.y*ml", "secrets.json", "secrets.toml",
	"*.tfstate", "*.tfstate.backup", "*.tfvars", "terraform.tfvars.json", "kubeconfig", "*.kubeconfig", ".vault-token", ".dockercfg",
	"*.swp", "*.swo", "*~", ".idea", ".bash_history", ".zsh_history", ".python_history", ".ipynb_checkpoints", "*.sqlite-wal", "wp-config.php", "local.properties",
}

// harmless are names that match a pattern and hold examples.
var harmless = []string{".env.example", ".env.sample", ".env.template", ".env.dist", ".env.test", ".env.defaults", "example.env", "sample.env"}

const (
	visibleDirs    = 64   // directories looked into
	visibleEntries = 4000 // names looked at
	visibleFound   = 50   // paths returned
)

// VisibleSecrets lists files of the workspace that the agent will see and that
// tend to hold secrets, by name only, in its first two levels. It is a hint
// for people and bounded: more says that it stopped looking.
func VisibleSecrets(workspace string, hidden []string) (found []string, more bool) {
	dirs, entries := []string{"."}, 0
	for i := 0; i < len(dirs); i++ {
		if i >= visibleDirs {
			return found, true
		}
		list, err := os.ReadDir(filepath.Join(workspace, dirs[i]))
		if err != nil {
			continue
		}
		for _, e := range list {
			rel := path.Join(dirs[i], e.Name())
			if entries++; entries > visibleEntries || len(found) >= visibleFound {
				return found, true
			}
			switch {
			case slices.Contains(hidden, rel):
			case isSecretFile(e.Name()):
				found = append(found, rel)
			case e.IsDir() && dirs[i] == "." && !filled[e.Name()]:
				dirs = append(dirs, rel)
			}
		}
	}
	return found, false
}

func isSecretFile(name string) bool {
	lower := strings.ToLower(name)
	if slices.Contains(harmless, lower) {
		return false
	}
	return slices.ContainsFunc(secretFiles, func(pattern string) bool {
		ok, _ := path.Match(pattern, lower)
		return ok
	})
}
