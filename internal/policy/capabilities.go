package policy

import (
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowedBuiltins are the functions a policy may call: none reads a clock, a
// file, the network, the environment or a source of randomness, and none
// grows its result far beyond its arguments. A name that ends in a dot allows
// the family. Adding one widens what a policy may do.
var allowedBuiltins = []string{
	// comparison, arithmetic, aggregates
	"assign", "eq", "equal", "neq", "lt", "lte", "gt", "gte", "plus", "minus", "mul", "div", "rem",
	"abs", "ceil", "floor", "round", "count", "sum", "product", "max", "min", "sort", "all", "any", "bits.",
	"numbers.range", "numbers.range_step", "to_number", "format_int", "units.",
	// collections
	"and", "or", "intersection", "union", "set_diff", "array.", "object.", "graph.", "walk",
	"internal.member_2", "internal.member_3",
	// types
	"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name",
	"cast_array", "cast_boolean", "cast_null", "cast_object", "cast_set", "cast_string",
	// text
	"concat", "contains", "endswith", "indexof", "indexof_n", "lower", "replace", "split", "sprintf", "startswith",
	"strings.any_prefix_match", "strings.any_suffix_match", "strings.count", "strings.replace_n", "strings.reverse",
	"strings.split_n", "substring", "trim", "trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix",
	"upper", "internal.template_string", "glob.", "re_match", "regex.find_all_string_submatch_n", "regex.find_n",
	"regex.is_valid", "regex.match", "regex.replace", "regex.split", "regex.template_match", "semver.",
	// encodings
	"base64.", "base64url.", "hex.", "urlquery.", "uri.", "json.marshal", "json.unmarshal", "json.is_valid",
	"json.filter", "json.remove", "json.patch", "crypto.sha256", "crypto.sha1", "crypto.md5", "uuid.parse",
	// addresses and times that the input names
	"net.cidr_contains", "net.cidr_contains_matches", "net.cidr_intersects", "net.cidr_is_valid", "net.cidr_overlap",
	"time.parse_rfc3339_ns", "time.parse_duration_ns",
	// what rules say about themselves, and printing, which the compiler removes
	"rego.metadata.chain", "rego.metadata.rule", "print", "internal.print", "trace",
}

var allowedFeatures = []string{
	ast.FeatureRegoV1, ast.FeatureRegoV1Import, ast.FeatureKeywordsInRefs, ast.FeatureTemplateStrings,
	ast.FeatureRefHeads, ast.FeatureRefHeadStringPrefixes,
}

// capabilities is the subset of OPA that policies may use.
var capabilities = sync.OnceValue(func() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool {
		return b.Nondeterministic || !allowedBuiltin(b.Name)
	})
	c.Features = slices.DeleteFunc(c.Features, func(f string) bool { return !slices.Contains(allowedFeatures, f) })
	c.AllowNet = []string{}
	return c
})

// usedByBuiltin are the functions that the built-in files call. Compiling
// costs by how many functions there are, and most runs compile only these.
var usedByBuiltin = []string{
	"eq", "equal", "gt", "lt", "div", "count", "startswith", "concat", "sprintf", "trim_suffix",
	"net.cidr_contains", "internal.member_2",
}

// builtinCapabilities are what the built-in files are compiled with.
var builtinCapabilities = sync.OnceValue(func() *ast.Capabilities {
	c := &ast.Capabilities{Features: allowedFeatures, AllowNet: []string{}}
	for _, b := range ast.Builtins {
		if slices.Contains(usedByBuiltin, b.Name) {
			c.Builtins = append(c.Builtins, b)
		}
	}
	return c
})

func allowedBuiltin(name string) bool {
	return slices.ContainsFunc(allowedBuiltins, func(allowed string) bool {
		return name == allowed || strings.HasSuffix(allowed, ".") && strings.HasPrefix(name, allowed)
	})
}
