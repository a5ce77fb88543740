package cowork.access_test

import rego.v1

import data.cowork.access

test_other_paths_are_not_allowed if {
	not access.allow with input as {"operation": "write", "path": "/workspacex/a", "parts": ["workspacex", "a"]}
}

test_generated_is_denied_in_any_directory if {
	count(access.deny) == 1 with input as {"operation": "delete", "path": "/workspace/a/generated/b", "parts": ["generated"]}
}
