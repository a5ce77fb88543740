// Package spec holds the formats that Carrel writes and reads, for other
// programs and for Carrel itself. It owns their text and is trusted with
// nothing.
package spec

import _ "embed"

// PolicyInputSchema is the JSON Schema of what a policy sees.
//
//go:embed policy-input.schema.json
var PolicyInputSchema []byte
