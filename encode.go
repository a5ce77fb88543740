package carrel

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Canonical encodes v as canonical JSON: RFC 8785 restricted to integers of
// at most 53 bits, so object members are sorted by UTF-16 code units, there is
// no white space, and only what JSON must escape is escaped. Floats with a
// fraction, larger integers and invalid UTF-8 are errors: a value that two
// readers could understand differently has no digest.
//
// What has which member is as encoding/json has it, tags included.
func Canonical(v any) (out []byte, err error) {
	err = withCanonical(v, func(b []byte) { out = append(make([]byte, 0, len(b)+1), b...) }) // with room for a newline
	return out, err
}

// AppendCanonical is Canonical into a buffer of the caller's. A pointer costs
// less than the value it points to, and is encoded alike.
func AppendCanonical(out []byte, v any) ([]byte, error) {
	rv := reflect.ValueOf(v)
	var err error
	if !rv.IsValid() {
		return append(out, "null"...), nil
	}
	if out, err = planFor(rv.Type()).append(out, rv, 0); err != nil {
		return nil, fmt.Errorf("canonical encoding: %w", err)
	}
	return out, nil
}

// maxScratch bounds what scratch keeps: one large document must not stay.
const maxScratch = 64 << 10

// scratch holds buffers for encodings that are looked at and dropped.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// withCanonical calls use with the encoding of v, which is gone after that.
func withCanonical(v any, use func([]byte)) error {
	buf := scratch.Get().(*[]byte)
	b, err := AppendCanonical((*buf)[:0], v)
	if err == nil {
		use(b)
	}
	if *buf = b; cap(b) <= maxScratch {
		scratch.Put(buf)
	}
	return err
}

// maxInteger is the largest integer that every reader of JSON keeps exactly.
const maxInteger = 1<<53 - 1

var (
	errUTF8  = errors.New("invalid UTF-8")
	errDepth = fmt.Errorf("nested deeper than %d", maxDepth)
)

// append writes v, which lies at the given depth.
func (p *plan) append(out []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	switch p.kind {
	case planString:
		return appendValid(out, v.String())
	case planText:
		return appendText(out, v.String(), depth)
	case planInt:
		return appendInteger(out, v.Int())
	case planUint:
		if u := v.Uint(); u > maxInteger {
			return nil, fmt.Errorf("number %d is not an integer of at most 53 bits", u)
		}
		return strconv.AppendUint(out, v.Uint(), 10), nil
	case planBool:
		return strconv.AppendBool(out, v.Bool()), nil
	case planTime:
		return appendTime(out, v)
	case planStruct:
		return p.appendStruct(out, v, depth)
	case planPointer:
		if v.IsNil() {
			return append(out, "null"...), nil
		}
		return p.elem.append(out, v.Elem(), depth)
	case planAny:
		if v.IsNil() {
			return append(out, "null"...), nil
		}
		return planFor(v.Elem().Type()).append(out, v.Elem(), depth)
	case planBytes:
		if v.IsNil() {
			return append(out, "null"...), nil
		}
		return append(base64.StdEncoding.AppendEncode(append(out, '"'), v.Bytes()), '"'), nil
	case planList:
		return p.appendList(out, v, depth)
	case planMap:
		return p.appendMap(out, v, depth)
	}
	return appendOther(out, v, depth)
}

func appendInteger(out []byte, i int64) ([]byte, error) {
	if i > maxInteger || i < -maxInteger {
		return nil, fmt.Errorf("number %d is not an integer of at most 53 bits", i)
	}
	return strconv.AppendInt(out, i, 10), nil
}

func appendValid(out []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, errUTF8
	}
	return appendString(out, s), nil
}

// appendText writes a Text as its MarshalJSON does.
func appendText(out []byte, s string, depth int) ([]byte, error) {
	if utf8.ValidString(s) {
		return appendString(out, s), nil
	}
	if depth == maxDepth {
		return nil, errDepth
	}
	return append(append(out, `{"base64":"`...), encodeBase64(s)+`"}`...), nil
}

func appendTime(out []byte, v reflect.Value) (_ []byte, err error) {
	var t time.Time
	if v.CanAddr() {
		t = *v.Addr().Interface().(*time.Time) // does not allocate
	} else {
		t = v.Interface().(time.Time)
	}
	if out, err = t.AppendText(append(out, '"')); err != nil {
		return nil, err
	}
	return append(out, '"'), nil
}

func (p *plan) appendStruct(out []byte, v reflect.Value, depth int) (_ []byte, err error) {
	out = append(out, '{')
	first := true
	for i := range p.fields {
		f := &p.fields[i]
		value := f.of(v)
		if f.omitted(value) {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		if out, err = f.plan.append(append(out, f.key...), value, depth+1); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func (p *plan) appendList(out []byte, v reflect.Value, depth int) (_ []byte, err error) {
	if v.IsNil() {
		return append(out, "null"...), nil
	}
	out = append(out, '[')
	for i := range v.Len() {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = p.elem.append(out, v.Index(i), depth+1); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

func (p *plan) appendMap(out []byte, v reflect.Value, depth int) (_ []byte, err error) {
	if v.IsNil() {
		return append(out, "null"...), nil
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return compareUTF16(a.String(), b.String()) })
	out = append(out, '{')
	for i, key := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = appendValid(out, key.String()); err != nil {
			return nil, err
		}
		if out, err = p.elem.append(append(out, ':'), v.MapIndex(key), depth+1); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

// appendOther writes what has no plan by way of encoding/json.
func appendOther(out []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.CanAddr() {
		v = v.Addr() // as encoding/json would see it
	}
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v.Interface()); err != nil {
		return nil, err
	}
	// The encoder replaces invalid UTF-8 by an escaped U+FFFD, and writes a
	// true U+FFFD as it is: so the escape alone says that something was lost.
	return canonicalize(out, raw.Bytes(), depth, true)
}
