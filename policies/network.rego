# Names and connections, and servers of the desk made visible outside. This file only denies: a destination is granted by
# the egress rules of the configuration, never by the built-in policy alone.
package carrel.builtin.network

governs := {"resolve", "connect", "request", "expose"}

# The built-in layer's allow is not a grant for these operations.
ceiling := {"resolve", "connect", "request", "expose"}

default allow := false

allow if count(input.host) > 0

# A desk's server is shown to programs of this machine, not to its network.
deny contains {
	"rule": "expose-loopback",
	"msg": "a server of the desk is shown on loopback only",
} if {
	input.operation == "expose"
	not input.host in {"127.0.0.1", "::1"}
}

deny contains {
	"rule": "metadata",
	"msg": "the destination is a cloud metadata service, which hands out the machine's own credentials",
} if {
	trim_suffix(input.host, ".") in metadata_names
}

deny contains {
	"rule": "metadata",
	"msg": "the destination is a cloud metadata service, which hands out the machine's own credentials",
} if {
	input.host_is_address
	some range in metadata_ranges
	net.cidr_contains(range, input.host)
}

deny contains {
	"rule": "trace",
	"msg": "TRACE sends a request's own headers back, credentials included",
	"next": "use another method",
} if {
	input.method == "TRACE"
}

metadata_names := {
	"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
	"metadata.azure.internal", "metadata.platformequinix.com", "metadata.packet.net",
}

# All of the link-local range: no service of a project lives there.
metadata_ranges := [
	"169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
	"fd00:ec2::254/128", "fd20:ce::254/128", "fe80::/10",
	"::ffff:169.254.0.0/112", "::ffff:168.63.129.16/128", "::ffff:100.100.100.200/128",
]
