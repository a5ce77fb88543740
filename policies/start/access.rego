# What agents may do here. The built-in floor is asked too: this file cannot
# allow what it denies. Rules see the input that spec/policy-input.md describes.
package cowork.access

import rego.v1

# The operations this file is asked about.
governs := {"write", "delete", "exec"}

default allow := false

allow if {
	input.operation in {"write", "delete"}
	startswith(input.path, "/workspace/")
}

allow if input.operation == "exec"

# Example: generated files are made by their generator.
deny contains {
	"rule": "generated",
	"msg": "generated files are not written by hand",
	"next": "change the source and run the generator",
} if {
	input.operation in {"write", "delete"}
	"generated" in input.parts
}

# Example: schema changes are looked at.
ask contains {"rule": "schema", "msg": "schema changes are looked at"} if {
	input.operation in {"write", "delete"}
	"migrations" in input.parts
}
