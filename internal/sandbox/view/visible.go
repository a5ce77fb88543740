package view

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	visibleEntries = 1500 // names looked at: this costs every run of a big tree
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
			if entries++; entries > visibleEntries || len(found) >= visibleFound {
				return found, true
			}
			secret, enter := isSecretFile(e.Name()), e.IsDir() && dirs[i] == "." && !filled[e.Name()]
			if !secret && !enter {
				continue
			}
			switch rel := path.Join(dirs[i], e.Name()); {
			case slices.Contains(hidden, rel):
			case secret:
				found = append(found, rel)
			default:
				dirs = append(dirs, rel)
			}
		}
	}
	return found, false
}

// secretForms sorts the patterns by how fast they are tried: thousands of
// names are looked at while a run starts.
var secretForms = sync.OnceValue(func() (f struct {
	names  map[string]bool
	ends   []string
	others []string
}) {
	f.names = map[string]bool{}
	for _, pattern := range secretFiles {
		end, starred := strings.CutPrefix(pattern, "*")
		switch {
		case !strings.Contains(pattern, "*"):
			f.names[pattern] = true
		case starred && !strings.Contains(end, "*"):
			f.ends = append(f.ends, end)
		default:
			f.others = append(f.others, pattern)
		}
	}
	return f
})

func isSecretFile(name string) bool {
	lower, forms := strings.ToLower(name), secretForms()
	hit := forms.names[lower] ||
		slices.ContainsFunc(forms.ends, func(end string) bool { return strings.HasSuffix(lower, end) }) ||
		slices.ContainsFunc(forms.others, func(pattern string) bool {
			fixed, _, _ := strings.Cut(pattern, "*")
			if !strings.HasPrefix(lower, fixed) {
				return false
			}
			ok, _ := path.Match(pattern, lower)
			return ok
		})
	return hit && !slices.Contains(harmless, lower)
}
