# A change leaving the desk. People look at it first, unless they asked for
# automatic applying and nothing in the change is risky.
package carrel.builtin.publish

governs := {"publish"}

default allow := false

allow if {
	input.publication.auto
	input.publication.risk.level in {"none", "low"}
}

ask contains {
	"rule": "review",
	"msg": "a change leaves the desk only after a person has approved it",
	"next": "carrel review, then carrel approve",
} if {
	not input.publication.auto
}

ask contains {
	"rule": "risk",
	"msg": sprintf("the change's risk is %s; only changes below medium are applied without a person", [input.publication.risk.level]),
	"next": "carrel review, then carrel approve",
} if {
	input.publication.auto
	not input.publication.risk.level in {"none", "low"}
}

ask contains {
	"rule": "many-files",
	"msg": sprintf("the change holds %d files, more than people review at once", [input.publication.files]),
	"next": "have the agent make smaller changes",
} if {
	input.publication.files > 500
}

deny contains {
	"rule": "empty",
	"msg": "the change holds no file that may leave the desk",
} if {
	input.publication.files < 1
}
