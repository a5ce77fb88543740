package risk

import "github.com/carrel-dev/carrel"

// pathRule labels files by where they lie. Patterns are in lower case. One
// without a slash is the name of a file, or of a directory above it; one with
// a slash is matched against the path from any directory down, and "/**" at
// its end means everything below. A leading slash means the top only.
type pathRule struct {
	label    string
	severity carrel.Severity
	reason   string
	patterns []string
}

// pathRules is the table of places where a file does more than lie there.
// Adding a row is all it takes to label one more.
var pathRules = []pathRule{
	{"changes-carrel", carrel.SeverityCritical, "it is Carrel's own configuration or policy", []string{".carrel/**"}},
	{"agent-settings", carrel.SeverityCritical, "it configures agents: hooks, tools, servers or their sandbox", []string{
		".claude/settings*.json", ".claude/hooks/**", ".claude/commands/**", ".claude/agents/**", ".claude/skills/**", ".claude/plugins/**", ".claude.json",
		".mcp.json", "mcp.json", ".codex/**", ".cursor/**", ".gemini/**", ".aider.conf.yml", ".aider*", ".continue/**", ".windsurf/**", ".roo/**", ".kiro/**",
		".opencode/**", "opencode.json", ".amazonq/**", ".qwen/**", ".crush.json", ".vscode/mcp.json", ".copilot/**", ".amp/**", ".trae/**", ".augment/**", ".github/hooks/**"}},
	{"agent-instructions", carrel.SeverityHigh, "agents obey what it says", []string{
		"claude.md", "claude.local.md", "agents.md", "agent.md", "gemini.md", "conventions.md", ".claude/**", ".cursorrules", ".windsurfrules", ".clinerules", ".clinerules/**", ".goosehints",
		".rules", ".github/copilot-instructions.md", ".github/instructions/**", ".github/prompts/**", ".github/chatmodes/**", ".junie/**", "llms.txt"}},
	{"changes-ci", carrel.SeverityHigh, "it runs in continuous integration, with the project's secrets", []string{
		".github/workflows/**", ".github/actions/**", "action.yml", "action.yaml", ".gitlab-ci.yml", ".gitlab/ci/**", ".gitlab-ci/**", "jenkinsfile*", ".jenkins/**",
		".circleci/**", "azure-pipelines*.yml", "azure-pipelines*.yaml", ".azure-pipelines/**", ".travis.yml", "bitbucket-pipelines.yml", ".drone.yml", ".drone.star", ".woodpecker.yml",
		".woodpecker/**", ".buildkite/**", "appveyor.yml", ".appveyor.yml", ".cirrus.yml", ".cirrus.star", ".teamcity/**", "cloudbuild.yaml", "cloudbuild.yml", "buildspec.yml", ".forgejo/workflows/**",
		".gitea/workflows/**", ".tekton/**", ".semaphore/**", "wercker.yml", ".ci/**", ".sourcehut/**", ".build.yml", ".builds/**", "skaffold.yaml"}},
	{"changes-owners", carrel.SeverityHigh, "it says who must review what", []string{"codeowners", "owners", "owners_aliases", ".mergify.yml", ".github/mergify.yml", ".policy.yml", ".github/settings.yml"}},
	{"changes-bots", carrel.SeverityMedium, "it steers programs that open or merge changes", []string{
		".github/dependabot.yml", ".github/dependabot.yaml", "renovate.json", "renovate.json5", ".renovaterc", ".renovaterc.json", ".github/renovate.json", ".release-please*", ".github/**"}},
	{"runs-on-open", carrel.SeverityHigh, "opening or entering the folder can run it", []string{
		".vscode/tasks.json", ".vscode/launch.json", ".vscode/settings.json", ".vscode/extensions.json", "*.code-workspace", ".idea/**", ".fleet/**", ".zed/**", ".devcontainer/**", ".devcontainer.json",
		".envrc", ".direnvrc", "mise.toml", ".mise.toml", ".mise/**", ".tool-versions", ".exrc", ".vimrc", ".nvim.lua", ".nvimrc", ".lvimrc", ".dir-locals.el", ".projectile", ".gdbinit", ".lldbinit",
		".sublime-project", "*.sublime-project", ".autoenv", ".autoenv.zsh", ".netbeans/**", ".project", ".settings/**", "default.nix", "shell.nix", "flake.nix", ".gitpod.yml", ".replit", "replit.nix", ".nvmrc",
		".helix/**", ".rprofile", ".renviron", ".irbrc", ".pryrc", ".pdbrc", ".ghci", ".ocamlinit", ".iex.exs", ".envrc.*", "devbox.json", "*.lnk", "*.scf", "*.desktop", "desktop.ini", "autorun.inf", ".hg/**", ".jj/**", ".svn/**", ".bzr/**"}},
	{"runs-on-open", carrel.SeverityMedium, "editors run it to check or format what is opened", []string{
		".eslintrc.js", ".eslintrc.cjs", "eslint.config.*", ".prettierrc.*js", ".prettierrc.*ts", "prettier.config.*", ".stylelintrc.*js", "stylelint.config.*", ".pylintrc", "pylintrc",
		".flake8", "mypy.ini", ".mypy.ini", ".rubocop.yml", ".rubocop.yaml", ".solargraph.yml", ".credo.exs", ".formatter.exs", "tslint.json", ".luarc.json", "phpstan*.neon*", "psalm.xml*", ".php-cs-fixer*.php", "rector.php"}},
	{"runs-on-checkout", carrel.SeverityHigh, "git runs it on commit, checkout or merge", []string{
		".husky/**", ".githooks/**", ".git-hooks/**", "githooks/**", ".pre-commit-config.yaml", ".pre-commit-config.yml", ".pre-commit-hooks.yaml", "lefthook.yml", "lefthook.yaml", ".lefthook.yml", ".lefthook/**",
		"lefthook-local.yml", ".overcommit.yml", ".lintstagedrc*", "lint-staged.config.*", ".simple-git-hooks.*", "simple-git-hooks.*", ".commitlintrc*", "commitlint.config.*", ".huskyrc*"}},
	{"runs-on-install", carrel.SeverityHigh, "installing the project or its dependencies runs it", []string{
		"setup.py", "binding.gyp", ".npmrc", ".yarnrc", ".yarnrc.yml", ".yarn/plugins/**", ".yarn/releases/**", ".pnpmfile.cjs", "pnpmfile.js", "pnpmfile.cjs", "pip.conf", "pip.ini", "extconf.rb", "preinstall.*", "postinstall.*",
		"*.pth", "sitecustomize.py", "usercustomize.py", ".bundle/config", "bunfig.toml", ".condarc"}},
	{"runs-on-build", carrel.SeverityHigh, "building the project runs it", []string{
		"build.rs", ".cargo/config", ".cargo/config.toml", "rust-toolchain", "rust-toolchain.toml", "build.zig", "gradlew", "gradlew.bat", "gradle-wrapper.jar", "gradle-wrapper.properties", "gradle.properties", "mvnw", "mvnw.cmd", ".mvn/**",
		"init.gradle", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "build.sbt", "project/plugins.sbt", ".bazelrc", ".bazelversion", "directory.build.props", "directory.build.targets", "nuget.config", ".buckconfig", "go.env",
		"tools/bazel", ".config/dotnet-tools.json"}},
	{"runs-on-build", carrel.SeverityLow, "building the project runs it", []string{
		"makefile", "gnumakefile", "*.mk", "cmakelists.txt", "*.cmake", "cmakepresets.json", "cmakeuserpresets.json", "*.bzl", "dune", "tiltfile", "rakefile", "gruntfile.*", "gulpfile.*", "justfile", "taskfile.y*ml", "magefile.go", "meson.build", "wscript", "sconstruct", "configure", "configure.ac", "autogen.sh",
		"dockerfile*", "*.dockerfile", "containerfile*", "docker-compose*.y*ml", "compose.y*ml", "procfile", "vagrantfile", "webpack.config.*", "vite.config.*", "rollup.config.*", "next.config.*", "astro.config.*", "hardhat.config.*", "babel.config.*",
		".babelrc*", "postcss.config.*", "tailwind.config.*", "metro.config.*", "esbuild.*", "nx.json", "turbo.json", "workspace", "workspace.bazel", "module.bazel", "build.bazel", "tox.ini", "noxfile.py", "*.csproj", "*.vcxproj", "build", "pom.xml", "build.xml"}},
	{"runs-on-test", carrel.SeverityMedium, "running the tests runs it before any test", []string{
		"conftest.py", "jest.config.*", "jest.setup.*", "vitest.config.*", "vitest.setup.*", "playwright.config.*", "cypress.config.*", "karma.conf.*", ".mocharc*", "pytest.ini", "setupfiles.*", "testmain_test.go", "spec_helper.rb", ".rspec", "phpunit.xml*", ".ava.config.*", ".coveragerc"}},
	{"changes-dependencies", carrel.SeverityMedium, "it says which foreign code the project uses", []string{
		"go.mod", "go.work", "requirements*.txt", "requirements/**", "constraints*.txt", "pyproject.toml", "setup.cfg", "pipfile", "environment.yml", "cargo.toml", "gemfile", "*.gemspec", "composer.json", "pubspec.yaml",
		"package.swift", "podfile", "cartfile", "mix.exs", "rebar.config", "build.sbt", "deps.edn", "project.clj", "stack.yaml", "*.cabal", "cabal.project", "vcpkg.json", "conanfile.*", "pnpm-workspace.yaml", "gradle/libs.versions.toml",
		"packages.config", "directory.packages.props", "deno.json", "deno.jsonc", "import_map.json", "dune-project", "*.opam", "bower.json", "vendor/**", "third_party/**"}},
	{"changes-lockfile", carrel.SeverityMedium, "it pins foreign code by digest or version", []string{
		"go.sum", "go.work.sum", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "deno.lock", "cargo.lock", "poetry.lock", "uv.lock", "pdm.lock", "pipfile.lock", "gemfile.lock",
		"composer.lock", "pubspec.lock", "package.resolved", "podfile.lock", "cartfile.resolved", "mix.lock", "rebar.lock", "stack.yaml.lock", "flake.lock", "packages.lock.json", "conan.lock", "gradle.lockfile", "module.bazel.lock", ".terraform.lock.hcl", "pixi.lock"}},
	{"changes-modules", carrel.SeverityHigh, "it says from where other repositories are fetched into this one", []string{".gitmodules"}},
	{"runs-from-path", carrel.SeverityHigh, "tools on the host find it first and run it", []string{
		"node_modules/.bin/**", ".venv/bin/**", "venv/bin/**", ".venv/scripts/**", "venv/scripts/**", "env/bin/**", ".direnv/**", "vendor/bin/**", ".bin/**", ".local/bin/**"}},
	{"foreign-code", carrel.SeverityLow, "installed foreign code: the host runs what lies here", []string{"node_modules/**", ".venv/**", "venv/**", "site-packages/**", "__pypackages__/**", ".tox/**", ".eggs/**", ".yarn/cache/**", ".pnp.cjs", ".pnp.loader.mjs"}},
	{"deploys", carrel.SeverityMedium, "it changes where or how the project runs", []string{
		"*.tf", "*.tfvars", "*.tf.json", "terragrunt.hcl", "serverless.y*ml", "vercel.json", "netlify.toml", "fly.toml", "app.yaml", "wrangler.toml", "wrangler.jsonc", "pulumi.y*ml", "chart.yaml", "kustomization.y*ml", "ansible.cfg", "firebase.json", ".ebextensions/**", ".user.ini"}},
	{"credential-file", carrel.SeverityHigh, "files of this name hold credentials", []string{
		".env", ".env.*", ".netrc", "_netrc", ".pypirc", ".git-credentials", ".aws/**", ".ssh/**", ".docker/config.json", ".kube/config", "kubeconfig", "*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "*.jks", "*.kdbx", "id_rsa", "id_ed25519", "id_ecdsa",
		".htpasswd", "credentials.json", "service-account*.json", ".gnupg/**", ".npmrc", "terraform.tfstate*"}},
}

// exceptions are names that a wider pattern would take for something they are
// not.
var exceptions = map[string]map[string]bool{
	"credential-file": {".env.example": true, ".env.sample": true, ".env.template": true, ".env.dist": true, ".env.defaults": true},
}
