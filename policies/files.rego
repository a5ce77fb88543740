# Changes to files of the workspace. What is denied here no policy can lift,
# and what is asked here is always asked. input.classes says what the path is
# known for (classes.txt), read as the least careful file system would, so that
# .GIT, ".git." and ".git::$DATA" are all of the class git-directory.
package carrel.builtin.files

governs := {"write", "delete"}

default allow := false

allow if startswith(input.path, "/workspace/")

# --- floor: denied -----------------------------------------------------------

deny contains {
	"rule": "outside-workspace",
	"msg": "only files below /workspace may be changed",
	"next": "write below /workspace, or to a directory that the run was given",
} if {
	not startswith(input.path, "/workspace/")
}

deny contains {"rule": class, "msg": denied[class], "next": next_steps[class]} if {
	some class in input.classes
	denied[class]
}

deny contains {
	"rule": "windows-name",
	"msg": "the name means something else on Windows (backslash, stream, short name, trailing dot or space)",
	"next": "choose a plain file name",
} if {
	"windows-name" in input.classes
	input.operation == "write"
}

deny contains {
	"rule": "windows-device",
	"msg": "a file of this name cannot be checked out on Windows",
	"next": "choose another name",
} if {
	"windows-device" in input.classes
	input.operation == "write"
	input.file.change == "create"
}

# --- floor: asked ------------------------------------------------------------

ask contains {"rule": class, "msg": asked[class], "next": look} if {
	some class in input.classes
	asked[class]
}

ask contains {
	"rule": "risky-file",
	"msg": sprintf("the file is labelled %s", [label.name]),
	"next": look,
} if {
	some label in input.file.labels
	label.severity in {"high", "critical"}
}

ask contains {
	"rule": "secret-content",
	"msg": "the content looks like a credential that was not there before",
	"next": "take the credential out and revoke it where it was issued",
} if {
	some label in input.file.labels
	label.name == "secret"
}

ask contains {
	"rule": "huge-file",
	"msg": sprintf("the file has %d MiB, more than people review", [input.file.size / 1048576]),
	"next": look,
} if {
	input.file.size > 10485760
}

# --- texts -------------------------------------------------------------------

denied := {
	"git-directory": "the repository's own data (.git) is never changed by an agent: hooks and settings in it run on the host",
	"credential-store": "the path names a credential store",
}

next_steps := {
	"git-directory": "use git inside the desk; an applied change is committed outside",
	"credential-store": "keep credentials outside: the model door and leases bring them to the destination",
}

asked := {
	"ci": "the file decides what continuous integration runs, with its credentials",
	"owners": "the file decides who must review changes",
	"agent-settings": "the file instructs agents or changes what they may do",
	"editor": "an editor may run what the file says when the folder is opened",
	"git-settings": "git on the host acts on the file",
	"install-time": "the file can run code on install, build or test",
	"dependencies": "the file decides which foreign code is used",
	"container": "the file decides what an image is made of or how it runs",
	"infrastructure": "the file decides what machines and services are made of",
	"secret-file": "files of this name hold secrets",
	"own-settings": "the file is Carrel's own configuration of this repository",
}

# Who should look: the owners that the base commit's CODEOWNERS names for the
# path, where the caller knows them.
look := sprintf("ask %s to look at it", [concat(", ", input.owners)]) if count(input.owners) > 0

else := "look at it in carrel review"
