# Changes to files of the workspace. What is denied here no policy can lift,
# and what is asked here is always asked. input.parts are the components of the
# path, and each with the one below it, as the least careful file system would
# read them (spec/policy-input.md), so .GIT, ".git." and ".git::$DATA" are all
# ".git".
package carrel.builtin.files

governs := {"write", "delete"}

default allow := false

allow if startswith(input.path, "/workspace/")

# --- floor: denied -----------------------------------------------------------

deny contains {
	"rule": "outside-workspace",
	"msg": "only files below /workspace may be changed",
} if {
	not startswith(input.path, "/workspace/")
}

deny contains {"rule": why, "msg": reasons[why], "next": next_steps[why]} if {
	some why in object.filter(denied_parts, input.parts)
}

deny contains {
	"rule": "windows-name",
	"msg": "the name means something else on Windows (backslash, stream, short name, trailing dot or space)",
	"next": "choose a plain file name",
} if {
	input.operation == "write"
	regex.match(`\\|::?\$|[. ](/|$)|/[^/.]{1,6}~[0-9](\.[^/.]{1,3})?(/|$)`, input.path)
}

deny contains {
	"rule": "windows-device",
	"msg": "a file of this name cannot be checked out on Windows",
	"next": "choose another name",
} if {
	input.operation == "write"
	input.file.change == "create"
	some part in input.parts
	split(part, ".")[0] in device_names
}

# --- floor: asked ------------------------------------------------------------

ask contains {"rule": why, "msg": reasons[why]} if {
	some why in object.filter(asked_parts, input.parts)
}

ask contains {"rule": "editor", "msg": reasons.editor} if endswith(input.path, ".code-workspace")

ask contains {"rule": "install-time", "msg": reasons["install-time"]} if endswith(input.path, ".pth")

ask contains {
	"rule": "risky-file",
	"msg": sprintf("the file is labelled %s", [label.name]),
} if {
	some label in input.file.labels
	label.severity in {"high", "critical"}
}

# --- tables ------------------------------------------------------------------

reasons := {
	"git-directory": "the repository's own data (.git) is never changed by an agent: hooks and settings in it run on the host",
	"credential-store": "the path names a credential store",
	"ci": "the file decides what continuous integration runs, with its credentials",
	"owners": "the file decides who must review changes",
	"agent-settings": "the file instructs agents or changes what they may do",
	"editor": "an editor may run what the file says when the folder is opened",
	"git-settings": "git on the host acts on the file",
	"install-time": "the file can run code on install, build or test",
	"secret-file": "files of this name hold secrets",
	"own-settings": "the file is Carrel's own configuration of this repository",
}

next_steps := {
	"git-directory": "use git inside the desk; an applied change is committed outside",
	"credential-store": "keep credentials outside: the model door and leases bring them to the destination",
}

denied_parts := {
	".git": "git-directory", "git~1": "git-directory",
	".ssh": "credential-store", ".gnupg": "credential-store", ".aws": "credential-store",
	".azure": "credential-store", ".oci": "credential-store", ".kube": "credential-store",
	".netrc": "credential-store", "_netrc": "credential-store", ".pgpass": "credential-store",
	".my.cnf": "credential-store", ".pypirc": "credential-store", ".git-credentials": "credential-store",
	".vault-token": "credential-store", ".password-store": "credential-store", ".boto": "credential-store",
	".s3cfg": "credential-store", ".dockercfg": "credential-store", ".docker/config.json": "credential-store",
	".config/gh": "credential-store", ".config/glab-cli": "credential-store",
	".config/gcloud": "credential-store", ".config/op": "credential-store", ".config/sops": "credential-store",
	".config/rclone": "credential-store", ".config/doctl": "credential-store",
	"containers/auth.json": "credential-store", ".cargo/credentials": "credential-store",
	".cargo/credentials.toml": "credential-store", ".gem/credentials": "credential-store",
	".terraform.d/credentials.tfrc.json": "credential-store", "share/keyrings": "credential-store",
	".claude/.credentials.json": "credential-store", ".codex/auth.json": "credential-store",
	".gemini/oauth_creds.json": "credential-store",
}

asked_parts := {
	".carrel": "own-settings",
	".circleci": "ci", ".buildkite": "ci", ".tekton": "ci", ".woodpecker": "ci", ".gitlab-ci.yml": "ci",
	".gitlab-ci.yaml": "ci", "jenkinsfile": "ci", ".travis.yml": "ci", "appveyor.yml": "ci", ".drone.yml": "ci",
	".woodpecker.yml": "ci", "azure-pipelines.yml": "ci", "bitbucket-pipelines.yml": "ci",
	"cloudbuild.yaml": "ci", "cloudbuild.yml": "ci", "action.yml": "ci", "action.yaml": "ci",
	".cirrus.yml": "ci", "dependabot.yml": "ci", "dependabot.yaml": "ci", "renovate.json": "ci",
	"renovate.json5": "ci", ".renovaterc": "ci", ".github/workflows": "ci", ".github/actions": "ci",
	".gitea/workflows": "ci", ".forgejo/workflows": "ci", ".gitlab/ci": "ci",
	".claude": "agent-settings", ".codex": "agent-settings", ".cursor": "agent-settings",
	".gemini": "agent-settings", ".continue": "agent-settings", ".windsurf": "agent-settings",
	".roo": "agent-settings", ".clinerules": "agent-settings", ".aider": "agent-settings",
	".amazonq": "agent-settings", ".kiro": "agent-settings", ".agents": "agent-settings",
	".opencode": "agent-settings", ".junie": "agent-settings", "agents.md": "agent-settings",
	"agent.md": "agent-settings", "claude.md": "agent-settings", "claude.local.md": "agent-settings",
	"gemini.md": "agent-settings", "agents.override.md": "agent-settings", ".mcp.json": "agent-settings",
	"mcp.json": "agent-settings", ".claude.json": "agent-settings", ".cursorrules": "agent-settings",
	".windsurfrules": "agent-settings", ".aider.conf.yml": "agent-settings", ".aiderignore": "agent-settings",
	".cursorignore": "agent-settings", "copilot-instructions.md": "agent-settings",
	"opencode.json": "agent-settings", ".github/copilot-instructions.md": "agent-settings",
	".github/instructions": "agent-settings", ".github/agents": "agent-settings",
	".vscode/mcp.json": "agent-settings",
	".idea": "editor", ".vs": "editor", ".devcontainer": "editor", ".fleet": "editor", ".exrc": "editor",
	".nvim.lua": "editor", ".nvimrc": "editor", ".vimrc": "editor", ".lvimrc": "editor",
	".dir-locals.el": "editor", ".devcontainer.json": "editor", ".envrc": "editor", ".tool-versions": "editor",
	"mise.toml": "editor", ".mise.toml": "editor", ".vscode/tasks.json": "editor",
	".vscode/settings.json": "editor", ".vscode/launch.json": "editor", ".vscode/extensions.json": "editor",
	".zed/tasks.json": "editor", ".zed/settings.json": "editor",
	".husky": "git-settings", ".githooks": "git-settings", ".gitattributes": "git-settings",
	".gitmodules": "git-settings", ".gitconfig": "git-settings", ".lfsconfig": "git-settings",
	".pre-commit-config.yaml": "git-settings", "lefthook.yml": "git-settings", ".lefthook.yml": "git-settings",
	".mvn": "install-time", "package.json": "install-time", ".npmrc": "install-time", ".yarnrc": "install-time",
	".yarnrc.yml": "install-time", ".pnpmfile.cjs": "install-time", "binding.gyp": "install-time",
	"bunfig.toml": "install-time", "setup.py": "install-time", "setup.cfg": "install-time",
	"pyproject.toml": "install-time", "conftest.py": "install-time", "sitecustomize.py": "install-time",
	"usercustomize.py": "install-time", "build.rs": "install-time", "extconf.rb": "install-time",
	"gradle-wrapper.properties": "install-time", "gradle-wrapper.jar": "install-time",
	"directory.build.props": "install-time", "directory.build.targets": "install-time",
	".cargo/config": "install-time", ".cargo/config.toml": "install-time", ".yarn/plugins": "install-time",
	".yarn/releases": "install-time", "node_modules/.bin": "install-time", ".venv/bin": "install-time",
	"venv/bin": "install-time",
	"codeowners": "owners",
	"id_rsa": "secret-file", "id_dsa": "secret-file", "id_ecdsa": "secret-file", "id_ed25519": "secret-file",
	".htpasswd": "secret-file",
}

device_names := {
	"con", "prn", "aux", "nul", "conin$", "conout$",
	"com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
}
