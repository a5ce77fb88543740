package carrel.builtin.others_test

import data.carrel.builtin.exec
import data.carrel.builtin.files
import data.carrel.builtin.lease
import data.carrel.builtin.network
import data.carrel.builtin.operator
import data.carrel.builtin.publish
import data.carrel.builtin.read

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

test_trace_is_denied if {
	rules := {f.rule | some f in network.deny} with input as {"host": "ok.test", "host_is_address": false, "method": "TRACE"}
	rules == {"trace"}
}

test_publish_many_files if {
	doc := {"publication": {"auto": true, "files": 501, "risk": {"level": "low"}}}
	rules := {f.rule | some f in publish.ask} with input as doc
	rules == {"many-files"}
}

command(classes) := {"operation": "exec", "argv": ["x"], "classes": classes}

test_commands if {
	exec.allow with input as command([])
	count(exec.deny) + count(exec.ask) == 0 with input as command([])
	{f.rule | some f in exec.deny} == {"operates-carrel"} with input as command(["operates-carrel"])
	every class in ["publishes", "deploys", "raises-privileges"] {
		{f.rule | some f in exec.ask} == {class} with input as command([class])
	}
}

test_read_credentials if {
	doc := {"operation": "read", "path": "/workspace/.aws/credentials", "classes": ["credential-store"]}
	{f.rule | some f in read.deny} == {"credential-store"} with input as doc
	{f.rule | some f in read.deny} == {"credential-store"} with input as object.union(doc, {"path": "/home/u/.aws/credentials"})
}
