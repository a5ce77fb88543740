package carrel.builtin.files_test

import data.carrel.builtin.files

change(parts, path) := {"operation": "write", "path": path, "parts": parts}

rules(found) := {f.rule | some f in found}

test_a_plain_file_is_allowed if {
	doc := change(["workspace", "main.go", "workspace/main.go"], "/workspace/main.go")
	files.allow with input as doc
	count(files.deny) == 0 with input as doc
	count(files.ask) == 0 with input as doc
}

test_outside_is_denied if {
	"outside-workspace" in rules(files.deny) with input as change(["etc", "passwd"], "/etc/passwd")
}

test_the_workspace_itself_is_outside if {
	"outside-workspace" in rules(files.deny) with input as change(["workspace"], "/workspace")
}

test_git_is_denied if {
	"git-directory" in rules(files.deny) with input as change(["workspace", ".git", "config"], "/workspace/.git/config")
}

test_short_git_is_denied if {
	"git-directory" in rules(files.deny) with input as change(["workspace", "git~1"], "/workspace/git~1")
}

test_credentials_are_denied if {
	every part in [".ssh", ".aws", ".netrc", ".docker/config.json", ".config/gh", ".kube", ".gnupg"] {
		"credential-store" in rules(files.deny) with input as change(["workspace", part], "/workspace/x")
	}
}

test_every_denied_part_has_a_reason if {
	every part, why in files.denied_parts {
		files.reasons[why]
		part == lower(part)
	}
}

test_every_asked_part_has_a_reason if {
	every part, why in files.asked_parts {
		files.reasons[why]
		part == lower(part)
	}
}

test_next_steps_of_every_denial if {
	every _, why in files.denied_parts {
		files.next_steps[why]
	}
}

test_workflow_is_asked if {
	"ci" in rules(files.ask) with input as change([".github", "workflows", ".github/workflows"], "/workspace/.github/workflows/ci.yml")
}

test_agent_settings_are_asked if {
	"agent-settings" in rules(files.ask) with input as change([".claude"], "/workspace/.claude/settings.json")
}

test_stream_is_denied if {
	"windows-name" in rules(files.deny) with input as change(["a"], "/workspace/a::$DATA")
}

test_backslash_is_denied if {
	"windows-name" in rules(files.deny) with input as change(["a"], `/workspace/a\b`)
}

test_trailing_dot_is_denied if {
	"windows-name" in rules(files.deny) with input as change(["a"], "/workspace/a./b")
}

test_short_name_is_denied if {
	"windows-name" in rules(files.deny) with input as change(["claude~1"], "/workspace/claude~1/settings.json")
}

test_a_tilde_in_a_backup_is_fine if {
	count(files.deny) == 0 with input as change(["a.~1~"], "/workspace/a.~1~")
}

test_deleting_an_odd_name_is_fine if {
	doc := object.union(change(["a"], "/workspace/a."), {"operation": "delete"})
	count(files.deny) == 0 with input as doc
}

test_creating_a_device_name_is_denied if {
	doc := object.union(change(["workspace", "con.txt"], "/workspace/con.txt"), {"file": {"change": "create"}})
	"windows-device" in rules(files.deny) with input as doc
}

test_editing_a_device_name_is_fine if {
	doc := object.union(change(["workspace", "aux.c"], "/workspace/aux.c"), {"file": {"change": "modify"}})
	count(files.deny) == 0 with input as doc
}

test_a_high_label_is_asked if {
	doc := object.union(change(["a"], "/workspace/a"), {"file": {"labels": [{"name": "setuid", "severity": "high"}]}})
	"risky-file" in rules(files.ask) with input as doc
}
