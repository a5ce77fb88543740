# Starting programs. Inside the walls any program may run: what it can reach is
# decided where it reaches, so these rules are a friendly gate and no wall. They
# name what people want to see coming. input.classes says what a command is
# known for (classes.txt).
package carrel.builtin.exec

governs := {"exec"}

default allow := false

allow if count(input.argv) > 0

deny contains {
	"rule": "operates-carrel",
	"msg": "an agent does not answer for itself: this verb of carrel is for people",
	"next": "say what you need; the person who started the run reviews and approves",
} if {
	"operates-carrel" in input.classes
}

ask contains {"rule": class, "msg": asked[class], "next": "let a person run it, or grant the effect in the configuration"} if {
	some class in input.classes
	asked[class]
}

asked := {
	"publishes": "the command publishes something for others to use",
	"deploys": "the command changes machines or services that are in use",
	"raises-privileges": "the command runs another as somebody else",
}
