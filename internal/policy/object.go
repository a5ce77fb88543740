package policy

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// object collects the members of an object that a policy will see. It is
// built as OPA's own values: a detour over JSON costs more than deciding.
type object [][2]*ast.Term

func (o *object) member(key string, v ast.Value) {
	*o = append(*o, [2]*ast.Term{ast.InternedTerm(key), ast.NewTerm(v)})
}

func (o *object) text(key, s string)                { o.member(key, ast.String(s)) }
func (o *object) boolean(key string, b bool)        { o.member(key, ast.Boolean(b)) }
func (o *object) number(key string, n int64)        { o.member(key, ast.Number(strconv.FormatInt(n, 10))) }
func (o *object) outside(key string, t carrel.Text) { o.member(key, outsideValue(t)) }

func (o *object) texts(key string, list []carrel.Text) {
	terms := make([]*ast.Term, len(list))
	for i, t := range list {
		terms[i] = ast.NewTerm(outsideValue(t))
	}
	o.member(key, ast.NewArray(terms...))
}

func (o *object) strings(key string, list []string) {
	terms := make([]*ast.Term, len(list))
	for i, s := range list {
		terms[i] = ast.InternedTerm(s)
	}
	o.member(key, ast.NewArray(terms...))
}

// outsideValue shows text from outside as the canonical encoding does: bytes
// that are no UTF-8 become {"base64": …}, which no string function accepts, so
// that a rule which looks into it fails, and a rule that fails denies.
func outsideValue(t carrel.Text) ast.Value {
	if utf8.ValidString(string(t)) {
		return ast.String(t)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(t))
	return ast.NewObject([2]*ast.Term{ast.InternedTerm("base64"), ast.StringTerm(encoded)})
}

// appendJSON writes v as canonical JSON (carrel.Canonical). Inputs hold only
// objects, arrays, strings, integers and booleans.
func appendJSON(out []byte, v ast.Value) []byte {
	switch v := v.(type) {
	case ast.Object:
		return appendObject(out, v)
	case *ast.Array:
		out = append(out, '[')
		for i := range v.Len() {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendJSON(out, v.Elem(i).Value)
		}
		return append(out, ']')
	case ast.String:
		return appendString(out, string(v))
	case ast.Number:
		return append(out, v...)
	case ast.Boolean:
		return strconv.AppendBool(out, bool(v))
	}
	return append(out, "null"...)
}

// appendObject sorts by bytes, which is the canonical order as long as keys
// stay in the basic plane: they are names of fields and labels.
func appendObject(out []byte, v ast.Object) []byte {
	keys := v.Keys()
	slices.SortFunc(keys, func(a, b *ast.Term) int {
		return strings.Compare(string(a.Value.(ast.String)), string(b.Value.(ast.String)))
	})
	out = append(out, '{')
	for i, k := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, string(k.Value.(ast.String))), ':')
		out = appendJSON(out, v.Get(k).Value)
	}
	return append(out, '}')
}

func appendString(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for _, c := range []byte(s) {
		switch short := strings.IndexByte("\b\t\n\f\r\"\\", c); {
		case short >= 0:
			out = append(out, '\\', `btnfr"\`[short])
		case c < 0x20:
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

// parseCanonical reads what appendJSON wrote.
func parseCanonical(b []byte) (*ast.Term, error) {
	v, err := ast.ValueFromReader(bytes.NewReader(b))
	return ast.NewTerm(v), err
}
