# The operators' own acts. Only this layer and the organisation's govern them,
# so that no policy can lock its owner out.
package carrel.builtin.operator

governs := {"approve", "deny", "freeze", "revoke", "policy", "attest"}

default allow := false

allow if {
	input.operation in {"freeze", "policy"}
}

allow if {
	input.operation in {"approve", "deny", "revoke", "attest"}
	count(input.subject) > 0
}
