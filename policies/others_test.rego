package carrel.builtin.others_test

import data.carrel.builtin.exec
import data.carrel.builtin.files
import data.carrel.builtin.lease
import data.carrel.builtin.network
import data.carrel.builtin.operator
import data.carrel.builtin.publish
import data.carrel.builtin.read

test_read_and_write_know_the_same_stores if {
	stores := {part | some part, why in files.denied_parts; why == "credential-store"}
	stores == read.credential_parts
}

test_read_inside if {
	doc := {"operation": "read", "path": "/workspace/a", "parts": ["workspace", "a"]}
	read.allow with input as doc
	count(read.deny) == 0 with input as doc
}

test_read_outside if {
	count(read.deny) == 1 with input as {"operation": "read", "path": "/etc/shadow", "parts": ["etc", "shadow"]}
}

test_exec if {
	exec.allow with input as {"operation": "exec", "argv": ["ls"]}
	not exec.allow with input as {"operation": "exec", "argv": []}
}

test_network_denies_metadata if {
	count(network.deny) == 1 with input as {"host": "169.254.169.254", "host_is_address": true}
	count(network.deny) == 1 with input as {"host": "metadata.google.internal", "host_is_address": false}
	count(network.deny) == 0 with input as {"host": "example.com", "host_is_address": false}
	count(network.deny) == 0 with input as {"host": "203.0.113.7", "host_is_address": true}
}

test_publish_asks if {
	count(publish.ask) == 1 with input as {"publication": {"auto": false, "files": 1, "risk": {"level": "none"}}}
}

test_publish_auto_low if {
	doc := {"publication": {"auto": true, "files": 1, "risk": {"level": "low"}}}
	publish.allow with input as doc
	count(publish.ask) == 0 with input as doc
}

test_publish_auto_medium_asks if {
	count(publish.ask) == 1 with input as {"publication": {"auto": true, "files": 1, "risk": {"level": "medium"}}}
}

test_publish_empty if {
	count(publish.deny) == 1 with input as {"publication": {"auto": false, "files": 0, "risk": {"level": "none"}}}
}

test_operator if {
	operator.allow with input as {"operation": "approve", "subject": "chg_x"}
	not operator.allow with input as {"operation": "approve", "subject": ""}
	operator.allow with input as {"operation": "freeze"}
}

test_lease if {
	lease.allow with input as {"operation": "tool", "subject": "search"}
}
