# Reading. The walls decide what there is to read; this floor holds where a tier
# puts single reads to the policy.
package carrel.builtin.read

governs := {"read"}

default allow := false

allow if startswith(input.path, "/workspace/")

deny contains {
	"rule": "outside-workspace",
	"msg": "only files below /workspace may be read",
	"next": "copy it into the workspace, or give it to the run with --ro",
} if {
	not startswith(input.path, "/workspace/")
	not credential_store # which is not to be copied anywhere
}

deny contains {
	"rule": "credential-store",
	"msg": "the path names a credential store",
	"next": "keep credentials outside: the model door and leases bring them to the destination",
} if {
	credential_store
}

credential_store if "credential-store" in input.classes
