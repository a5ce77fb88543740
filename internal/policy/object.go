package policy

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// object collects the members of an object that a policy will see. It is
// built as OPA's own values: a detour over JSON costs more than deciding.
type object [][2]*ast.Term

func (o *object) member(key string, v ast.Value) { o.term(key, ast.NewTerm(v)) }

func (o *object) term(key string, t *ast.Term) { *o = append(*o, [2]*ast.Term{stringTerm(key), t}) }

func (o *object) text(key, s string)                { o.term(key, stringTerm(s)) }
func (o *object) boolean(key string, b bool)        { o.term(key, ast.InternedTerm(b)) }
func (o *object) number(key string, n int64)        { o.member(key, ast.Number(strconv.FormatInt(n, 10))) }
func (o *object) outside(key string, t carrel.Text) { o.term(key, outsideTerm(t)) }

func (o *object) texts(key string, list []carrel.Text) {
	terms := make([]*ast.Term, len(list))
	for i, t := range list {
		terms[i] = outsideTerm(t)
	}
	o.array(key, terms)
}

func (o *object) strings(key string, list []string) {
	terms := make([]*ast.Term, len(list))
	for i, s := range list {
		terms[i] = stringTerm(s)
	}
	o.array(key, terms)
}

func (o *object) array(key string, terms []*ast.Term) {
	if len(terms) == 0 {
		o.term(key, ast.InternedEmptyArray)
		return
	}
	o.member(key, ast.NewArray(terms...))
}

// stringTerm is s, made once for what nearly every input says.
func stringTerm(s string) *ast.Term {
	if t := usualTerms[s]; t != nil {
		return t
	}
	return ast.StringTerm(s)
}

var usualTerms = func() map[string]*ast.Term {
	terms := map[string]*ast.Term{}
	for _, s := range []string{
		"", "operation", "agent", "run", "path", "raw_path", "parts", "classes", "owners", "workspace", "/workspace",
		"file", "change", "kind", "mode", "size", "digest", "target", "before", "nlink", "labels", "name", "severity",
		"program", "programs", "argv", "cwd", "subject", "subject_digest", "reason", "base64",
		"host", "host_is_address", "service", "port", "protocol", "method", "scheme", "url", "query", "headers", "body_size", "upgrade",
		"read", "write", "delete", "exec", "resolve", "connect", "request", "credential", "tls", "http", "https", "tcp", "GET", "POST",
		string(carrel.Created), string(carrel.Modified), string(carrel.Deleted), string(carrel.FileRegular),
	} {
		terms[s] = ast.StringTerm(s)
	}
	return terms
}()

// outsideTerm shows text from outside as the canonical encoding does: bytes
// that are no UTF-8 become {"base64": …}, which no string function accepts, so
// that a rule which looks into it fails, and a rule that fails denies.
func outsideTerm(t carrel.Text) *ast.Term {
	if utf8.ValidString(string(t)) {
		return stringTerm(string(t))
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(t))
	return ast.ObjectTerm([2]*ast.Term{stringTerm("base64"), ast.StringTerm(encoded)})
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

// appendObject relies on the order in which OPA shows keys: by bytes, which is
// the canonical order as long as keys stay in the basic plane. They are names
// of fields and labels.
func appendObject(out []byte, v ast.Object) []byte {
	before := byte('{')
	v.Foreach(func(key, value *ast.Term) {
		out = append(out, before)
		out = append(appendString(out, string(key.Value.(ast.String))), ':')
		out = appendJSON(out, value.Value)
		before = ','
	})
	if before == '{' {
		out = append(out, before)
	}
	return append(out, '}')
}

func appendString(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	plain := 0 // s[plain:i] needs no escape
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		out = append(out, s[plain:i]...)
		plain = i + 1
		if short := strings.IndexByte("\b\t\n\f\r\"\\", c); short >= 0 {
			out = append(out, '\\', `btnfr"\`[short])
		} else {
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(out, s[plain:]...), '"')
}

// parseCanonical reads what appendJSON wrote.
func parseCanonical(b []byte) (*ast.Term, error) {
	v, err := ast.ValueFromReader(bytes.NewReader(b))
	return ast.NewTerm(v), err
}
