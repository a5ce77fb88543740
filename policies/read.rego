# Reading. The walls decide what there is to read; this floor holds where a tier
# puts single reads to the policy.
package carrel.builtin.read

governs := {"read"}

default allow := false

allow if startswith(input.path, "/workspace/")

deny contains {
	"rule": "outside-workspace",
	"msg": "only files below /workspace may be read",
} if {
	not startswith(input.path, "/workspace/")
}

deny contains {
	"rule": "credential-store",
	"msg": "the path names a credential store",
	"next": "keep credentials outside: the model door and leases bring them to the destination",
} if {
	some part in input.parts
	part in credential_parts
}

credential_parts := {
	".ssh", ".gnupg", ".aws", ".azure", ".oci", ".kube", ".netrc", "_netrc", ".pgpass", ".my.cnf", ".pypirc",
	".git-credentials", ".vault-token", ".password-store", ".boto", ".s3cfg", ".dockercfg",
	".docker/config.json", ".config/gh", ".config/glab-cli", ".config/gcloud", ".config/op", ".config/sops",
	".config/rclone", ".config/doctl", "containers/auth.json", ".cargo/credentials", ".cargo/credentials.toml",
	".gem/credentials", ".terraform.d/credentials.tfrc.json", "share/keyrings", ".claude/.credentials.json",
	".codex/auth.json", ".gemini/oauth_creds.json",
}
