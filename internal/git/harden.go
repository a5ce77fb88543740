package git

// A guard is one row of what every git process is started with. Each has a
// test of its own name, with the proof that plain git would have run what the
// row stops, where plain git would.
type guard struct {
	env string // NAME=VALUE
	arg string // -c NAME=VALUE
	why string
}

// guards are applied to every git process. Settings given with -c win over
// those of the repository, includes among them; nothing of the caller's
// environment is inherited.
var guards = []guard{
	{env: "GIT_CONFIG_NOSYSTEM=1", why: "the system's settings name helpers"},
	{env: "GIT_CONFIG_SYSTEM=/dev/null", why: "the system's settings name helpers"},
	{env: "GIT_CONFIG_GLOBAL=/dev/null", why: "the user's settings name helpers"},
	{env: "GIT_ATTR_NOSYSTEM=1", why: "the system's attributes name filters"},
	{env: "GIT_NO_LAZY_FETCH=1", why: "reading a missing object starts the promisor remote's transport"},
	{env: "GIT_ALLOW_PROTOCOL=none", why: "a transport is a command; none is allowed, also not by git too old to know GIT_NO_LAZY_FETCH"},
	{env: "GIT_PROTOCOL_FROM_USER=0", why: "no URL comes from the user here"},
	{env: "GIT_OPTIONAL_LOCKS=0", why: "looking must not write the index"},
	{env: "GIT_NO_REPLACE_OBJECTS=1", why: "a replace reference shows another commit than the one named"},
	{env: "GIT_GRAFT_FILE=/dev/null", why: "grafts show another history than the one signed"},
	{env: "GIT_LITERAL_PATHSPECS=1", why: "a file name is not a pattern"},
	{env: "GIT_TERMINAL_PROMPT=0", why: "nobody is asked"},
	{env: "GIT_ASKPASS=true", why: "nobody is asked"},
	{env: "SSH_ASKPASS=true", why: "nobody is asked"},
	{env: "GIT_EDITOR=true", why: "no editor is started"},
	{env: "GIT_PAGER=cat", why: "no pager is started"},
	{env: "HOME=/nonexistent", why: "files in the home name helpers"},
	{env: "XDG_CONFIG_HOME=/nonexistent", why: "files in the home name helpers"},
	{env: "LC_ALL=C", why: "messages are read by programs"},

	{arg: "core.hooksPath=/dev/null", why: "hooks run, the reference-transaction hook even when a reference is only written"},
	{arg: "core.fsmonitor=false", why: "the file system monitor is a command"},
	{arg: "core.untrackedCache=false", why: "the index must not be believed about untracked files"},
	{arg: "core.sshCommand=false", why: "the transport is a command"},
	{arg: "core.gitProxy=false", why: "the proxy is a command"},
	{arg: "core.askPass=true", why: "asking for a password is a command"},
	{arg: "core.editor=true", why: "the editor is a command"},
	{arg: "core.pager=cat", why: "the pager is a command"},
	{arg: "core.alternateRefsCommand=true", why: "listing the references of alternates is a command"},
	{arg: "core.attributesFile=/dev/null", why: "attributes name filters"},
	{arg: "core.excludesFile=/dev/null", why: "what is ignored comes from the base alone"},
	{arg: "core.commitGraph=false", why: "the commit graph may say other than the commits"},
	{arg: "core.fsync=committed,reference", why: "after a power cut a new branch or note is whole or not there"},
	{arg: "diff.external=", why: "the external diff is a command"},
	{arg: "credential.helper=", why: "credential helpers are commands"},
	{arg: "gpg.program=false", why: "checking a signature is a command"},
	{arg: "gpg.ssh.program=false", why: "checking a signature is a command"},
	{arg: "gpg.x509.program=false", why: "checking a signature is a command"},
	{arg: "gpg.ssh.defaultKeyCommand=", why: "finding a key is a command"},
	{arg: "commit.gpgSign=false", why: "only the host user's own settings make a signature"},
	{arg: "log.showSignature=false", why: "checking a signature is a command"},
	{arg: "protocol.allow=never", why: "a transport is a command"},
	{arg: "protocol.ext.allow=never", why: "a transport is a command, and a setting of its own wins over protocol.allow"},
	{arg: "protocol.file.allow=never", why: "the other end of a local transport runs its hooks and uploadpack"},
	{arg: "safe.bareRepository=explicit", why: "a directory in the tree that looks like a repository is none"},
	{arg: "submodule.recurse=false", why: "submodules are recorded, not entered"},
	{arg: "gc.auto=0", why: "tidying runs in the background and outlives the command"},
	{arg: "maintenance.auto=false", why: "tidying runs in the background and outlives the command"},
	{arg: "fastimport.unpackLimit=0", why: "imported objects stay one pack, moved into place at once"},
}

// plumbing lists the only commands of git that are run. None of them is a
// porcelain whose behaviour settings or aliases may change; blame, which is
// one, is only run in a pristine directory, where there are none.
var plumbing = map[string]bool{
	"blame": true, "cat-file": true, "check-attr": true, "check-ignore": true, "check-ref-format": true,
	"commit-tree": true, "config": true, "diff-tree": true, "fast-import": true, "for-each-ref": true,
	"hash-object": true, "ls-files": true, "ls-tree": true, "merge-base": true, "read-tree": true,
	"rev-list": true, "rev-parse": true, "symbolic-ref": true, "update-index": true, "update-ref": true,
}

// prefix returns the arguments and the environment of every git process.
func prefix() (args, env []string) {
	env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	for _, g := range guards {
		if g.env != "" {
			env = append(env, g.env)
			continue
		}
		args = append(args, "-c", g.arg)
	}
	return append(args, "--no-pager", "--no-replace-objects", "--literal-pathspecs", "--no-optional-locks"), env
}
