package view

// manager is a known tool manager that lives in the user's home. Only what is
// named here is shown of it, read-only.
type manager struct {
	name  string
	root  string   // relative to the home
	env   string   // variable that moves the root, and is set inside to where it is
	bins  []string // relative to the root: on the PATH, they say that it is in use
	paths []string // relative to the root: what its tools need; "." is all of it
}

// managers is the table of known managers. A row must not show a place where
// its manager keeps credentials.
var managers = []manager{
	{name: "pyenv", root: ".pyenv", env: "PYENV_ROOT", bins: []string{"shims", "bin", "versions", "plugins"}, paths: []string{"shims", "bin", "libexec", "versions", "version", "plugins", "pyenv.d"}},
	{name: "nvm", root: ".nvm", env: "NVM_DIR", bins: []string{"versions"}, paths: []string{"versions", "alias", "nvm.sh", "nvm-exec", "bash_completion"}},
	{name: "nvm", root: ".config/nvm", env: "NVM_DIR", bins: []string{"versions"}, paths: []string{"versions", "alias", "nvm.sh", "nvm-exec"}},
	{name: "fnm", root: ".local/share/fnm", env: "FNM_DIR", bins: []string{"node-versions", "aliases"}, paths: []string{"node-versions", "aliases", "fnm"}},
	{name: "volta", root: ".volta", env: "VOLTA_HOME", bins: []string{"bin"}, paths: []string{"bin", "tools"}},
	{name: "nodenv", root: ".nodenv", env: "NODENV_ROOT", bins: []string{"shims", "bin"}, paths: []string{"shims", "bin", "libexec", "versions", "version", "plugins"}},
	{name: "n", root: "n", env: "N_PREFIX", bins: []string{"bin"}, paths: []string{"bin", "lib", "include", "share", "n"}},
	{name: "npm", root: ".npm-global", bins: []string{"bin"}, paths: []string{"bin", "lib"}},
	{name: "npm", root: ".npm-packages", bins: []string{"bin"}, paths: []string{"bin", "lib"}},
	{name: "npm", root: "node_modules", bins: []string{".bin"}, paths: []string{"."}},
	{name: "pnpm", root: ".local/share/pnpm", env: "PNPM_HOME", bins: []string{".", "bin"}, paths: []string{"."}},
	{name: "yarn", root: ".yarn", bins: []string{"bin"}, paths: []string{"bin"}},
	{name: "yarn", root: ".config/yarn/global", bins: []string{"node_modules/.bin"}, paths: []string{"node_modules"}},
	{name: "bun", root: ".bun", env: "BUN_INSTALL", bins: []string{"bin"}, paths: []string{"bin", "install/global"}},
	{name: "deno", root: ".deno", bins: []string{"bin"}, paths: []string{"bin"}},
	{name: "rustup", root: ".cargo", bins: []string{"bin"}, paths: []string{"bin"}},
	{name: "rustup", root: ".rustup", env: "RUSTUP_HOME", bins: []string{"toolchains", "../.cargo/bin"}, paths: []string{"toolchains", "settings.toml", "update-hashes"}},
	{name: "go", root: "go", bins: []string{"bin"}, paths: []string{"bin"}},
	{name: "go", root: "sdk", bins: []string{"*/bin"}, paths: []string{"."}},
	{name: "go", root: ".local/go", bins: []string{"bin"}, paths: []string{"."}},
	{name: "goenv", root: ".goenv", env: "GOENV_ROOT", bins: []string{"shims", "bin"}, paths: []string{"shims", "bin", "libexec", "versions", "version", "plugins"}},
	{name: "gvm", root: ".gvm", bins: []string{"gos", "pkgsets", "bin"}, paths: []string{"gos", "bin"}},
	{name: "rbenv", root: ".rbenv", env: "RBENV_ROOT", bins: []string{"shims", "bin"}, paths: []string{"shims", "bin", "libexec", "versions", "version", "plugins", "rbenv.d"}},
	{name: "rvm", root: ".rvm", bins: []string{"bin", "gems", "rubies"}, paths: []string{"bin", "gems", "rubies", "scripts", "wrappers"}},
	{name: "gem", root: ".gem/ruby", bins: []string{"*/bin"}, paths: []string{"."}},
	{name: "gem", root: ".local/share/gem/ruby", bins: []string{"*/bin"}, paths: []string{"."}},
	{name: "asdf", root: ".asdf", env: "ASDF_DATA_DIR", bins: []string{"shims", "bin", "installs"}, paths: []string{"shims", "bin", "lib", "libexec", "installs", "plugins", "asdf.sh", "../.tool-versions"}},
	{name: "mise", root: ".local/share/mise", env: "MISE_DATA_DIR", bins: []string{"shims", "installs", "bin"}, paths: []string{"shims", "installs", "bin", "plugins", "../../../.tool-versions"}},
	{name: "sdkman", root: ".sdkman", env: "SDKMAN_DIR", bins: []string{"candidates", "bin"}, paths: []string{"candidates", "bin"}},
	{name: "jenv", root: ".jenv", env: "JENV_ROOT", bins: []string{"shims", "bin"}, paths: []string{"shims", "bin", "libexec", "versions", "version", "plugins"}},
	{name: "coursier", root: ".local/share/coursier", bins: []string{"bin"}, paths: []string{"bin"}},
	{name: "dotnet", root: ".dotnet", env: "DOTNET_ROOT", bins: []string{".", "tools"}, paths: []string{"dotnet", "host", "sdk", "shared", "packs", "tools", "sdk-manifests", "templates"}},
	{name: "ghcup", root: ".ghcup", bins: []string{"bin"}, paths: []string{"bin", "ghc", "hls"}},
	{name: "opam", root: ".opam", env: "OPAMROOT", bins: []string{"*/bin"}, paths: []string{"."}},
	{name: "juliaup", root: ".juliaup", bins: []string{"bin"}, paths: []string{"bin"}},
	{name: "juliaup", root: ".julia/juliaup", bins: []string{"../../.juliaup/bin"}, paths: []string{"."}},
	{name: "conda", root: "miniconda3", bins: []string{"bin", "condabin", "envs"}, paths: []string{"."}},
	{name: "conda", root: "miniforge3", bins: []string{"bin", "condabin", "envs"}, paths: []string{"."}},
	{name: "conda", root: "anaconda3", bins: []string{"bin", "condabin", "envs"}, paths: []string{"."}},
	{name: "composer", root: ".config/composer/vendor", bins: []string{"bin"}, paths: []string{"."}},
	{name: "composer", root: ".composer/vendor", bins: []string{"bin"}, paths: []string{"."}},
	{name: "poetry", root: ".local/share/pypoetry", bins: []string{"venv/bin"}, paths: []string{"venv"}},
	{name: "nix", root: ".nix-profile", bins: []string{"bin"}, paths: nil},
	{name: "claude", root: ".claude/local", bins: []string{".", "node_modules/.bin"}, paths: []string{"."}},
	{name: "opencode", root: ".opencode", bins: []string{"bin"}, paths: []string{"bin"}},
	{name: "local", root: ".local", bins: []string{"bin"}, paths: []string{"bin", "lib", "libexec", "pipx/venvs", "pipx/shared",
		"share/pipx/venvs", "share/pipx/shared", "share/pipx/py", "share/uv/tools", "share/uv/python", "share/claude/versions", "share/pypoetry/venv", "share/fnm/node-versions"}},
}
