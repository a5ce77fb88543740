package carrel.builtin.files_test

import data.carrel.builtin.files

# change is what a policy sees of a write to path, of these classes.
change(path, classes) := {"operation": "write", "path": path, "classes": classes}

rules(found) := {f.rule | some f in found}

plain := change("/workspace/main.go", [])

test_a_plain_file_is_allowed if {
	files.allow with input as plain
	count(files.deny) == 0 with input as plain
	count(files.ask) == 0 with input as plain
}

test_outside_is_denied if {
	rules(files.deny) == {"outside-workspace"} with input as change("/etc/passwd", [])
	rules(files.deny) == {"outside-workspace"} with input as change("/workspace", [])
	rules(files.deny) == {"outside-workspace"} with input as change("/workspacex/y", [])
}

test_denied_classes if {
	every class in ["git-directory", "credential-store"] {
		rules(files.deny) == {class} with input as change("/workspace/x", [class])
	}
}

test_every_denial_says_what_to_do_instead if {
	every class, _ in files.denied {
		files.next_steps[class]
	}
}

test_asked_classes if {
	every class in [
		"ci", "owners", "agent-settings", "editor", "git-settings", "install-time", "dependencies",
		"container", "infrastructure", "secret-file", "own-settings",
	] {
		rules(files.ask) == {class} with input as change("/workspace/x", [class])
		count(files.deny) == 0 with input as change("/workspace/x", [class])
	}
}

test_two_classes_are_two_findings if {
	rules(files.ask) == {"ci", "owners"} with input as change("/workspace/x", ["ci", "owners"])
}

test_windows_names if {
	doc := change("/workspace/a.", ["windows-name"])
	rules(files.deny) == {"windows-name"} with input as doc
	count(files.deny) == 0 with input as object.union(doc, {"operation": "delete"})
}

test_windows_devices_are_only_denied_anew if {
	doc := change("/workspace/con.txt", ["windows-device"])
	rules(files.deny) == {"windows-device"} with input as object.union(doc, {"file": {"change": "create"}})
	count(files.deny) == 0 with input as object.union(doc, {"file": {"change": "modify"}})
}

labelled(name, severity) := object.union(plain, {"file": {"labels": [{"name": name, "severity": severity}]}})

test_risky_labels_are_asked if {
	rules(files.ask) == {"risky-file"} with input as labelled("setuid", "high")
	count(files.ask) == 0 with input as labelled("executable", "low")
}

test_secrets_in_content_are_asked if {
	rules(files.ask) == {"secret-content", "risky-file"} with input as labelled("secret", "critical")
}

test_huge_files_are_asked if {
	rules(files.ask) == {"huge-file"} with input as object.union(plain, {"file": {"size": 20971520}})
	count(files.ask) == 0 with input as object.union(plain, {"file": {"size": 10485760}})
}

test_owners_are_named if {
	doc := object.union(change("/workspace/x", ["ci"]), {"owners": ["@team/ci", "@lead"]})
	some f in files.ask with input as doc
	f.next == "ask @team/ci, @lead to look at it"
}
