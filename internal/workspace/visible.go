package workspace

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// VisibleSecret is a file of the workspace that the agent will be able to
// read and that its user may have forgotten about.
type VisibleSecret struct {
	Path string `json:"path"` // relative to the workspace
	Why  string `json:"why"`
}

// visibleNames are looked for by exact path and, without a slash, at the top.
// Looking must cost no time in proportion to the tree, so this is a table.
var visibleNames = []VisibleSecret{
	{".env", "environment files often hold credentials"},
	{".envrc", "environment files often hold credentials"},
	{".netrc", "holds passwords"},
	{".pypirc", "holds upload tokens"},
	{".npmrc", "may hold registry tokens"},
	{".yarnrc.yml", "may hold registry tokens"},
	{".git-credentials", "holds passwords"},
	{".docker/config.json", "may hold registry passwords"},
	{".aws/credentials", "holds keys"},
	{".kube/config", "holds cluster credentials"},
	{"kubeconfig", "holds cluster credentials"},
	{".bash_history", "shell histories often hold credentials"},
	{".zsh_history", "shell histories often hold credentials"},
	{".python_history", "histories often hold credentials"},
	{".psql_history", "histories often hold credentials"},
	{".idea/workspace.xml", "holds run configurations with their environment"},
	{".idea/dataSources.local.xml", "holds database logins"},
	{".vscode/settings.json", "may hold tokens of extensions"},
	{".direnv", "holds cached environments"},
	{"terraform.tfstate", "holds resources' secrets in the clear"},
	{".terraform/terraform.tfstate", "holds backend credentials"},
	{".cargo/credentials.toml", "holds registry tokens"},
	{".gradle/gradle.properties", "may hold signing and registry credentials"},
	{"local.properties", "may hold keys"},
	{"wp-config.php", "holds database passwords"},
	{"config/master.key", "decrypts the application's credentials"},
	{"id_rsa", "is a private key"},
	{"id_ed25519", "is a private key"},
	{"id_ecdsa", "is a private key"},
}

// visibleEndings are what names at the top may end in.
var visibleEndings = []VisibleSecret{
	{".pem", "may be a private key"}, {".key", "may be a private key"}, {".p12", "holds private keys"}, {".pfx", "holds private keys"},
	{".jks", "holds private keys"}, {".kdbx", "is a password store"}, {".swp", "is an editor's copy of an unsaved file"},
	{".swo", "is an editor's copy of an unsaved file"}, {".hprof", "is a memory dump"}, {".ovpn", "may hold a private key"},
	{".tfvars", "often holds credentials"}, {".tfstate", "holds resources' secrets in the clear"},
}

// maxVisible bounds the names looked at in the workspace's top directory.
const maxVisible = 20_000

// VisibleSecrets lists likely secrets at the usual places of the workspace,
// for a word before the run: --hide covers them.
func (w *Workspace) VisibleSecrets() ([]VisibleSecret, error) {
	root, err := openRoot(w.root)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	var out []VisibleSecret
	for _, v := range visibleNames {
		var st unix.Stat_t
		if statBeneath(root, v.Path, &st) == nil && (st.Size > 0 || st.Mode&unix.S_IFMT == unix.S_IFDIR) {
			out = append(out, v)
		}
	}
	names, err := readNames(root, maxVisible)
	if err != nil {
		return out, nil // too many to look at one by one
	}
	for _, name := range names {
		if why := visibleEnding(name); why != "" {
			out = append(out, VisibleSecret{path.Clean(name), why})
		}
	}
	return out, nil
}

func visibleEnding(name string) string {
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, ".env.") && !strings.Contains(lower, "example") && !strings.Contains(lower, "sample") && !strings.Contains(lower, "template") {
		return "environment files often hold credentials"
	}
	for _, v := range visibleEndings {
		if strings.HasSuffix(lower, v.Path) {
			return v.Why
		}
	}
	return ""
}
