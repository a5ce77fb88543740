# Credentials and tools. Like the network: granted by configuration, never by
# the built-in policy alone.
package carrel.builtin.lease

governs := {"credential", "tool"}

ceiling := {"credential", "tool"}

default allow := false

allow if count(input.subject) > 0
