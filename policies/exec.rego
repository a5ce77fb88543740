# Starting programs. Inside the walls any program may run: what it can reach
# is decided where it reaches. Operators narrow this with a policy of their own.
package carrel.builtin.exec

governs := {"exec"}

default allow := false

allow if count(input.argv) > 0
