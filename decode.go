package carrel

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

var errForm = errors.New("not in canonical form")

// Decode reads what Canonical wrote into v, a pointer to a zero value. It
// accepts nothing else: an unknown member, another order, another spelling of
// a number, a string or a time is an error, and so is anything that Canonical
// would not write of the result. After an error v may hold anything.
//
// Strings in the result share one copy of b.
func Decode(b []byte, v any) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return errors.New("decoding: not into a pointer")
	}
	if !utf8.Valid(b) {
		return fmt.Errorf("decoding: %w", errUTF8)
	}
	d := decoder{canonicalizer: canonicalizer{in: b}, whole: string(b)}
	if err := d.read(planFor(rv.Type().Elem()), rv.Elem(), 0); err != nil {
		return fmt.Errorf("decoding: %w (at byte %d)", err, d.pos)
	}
	// Reading is only strict where that costs nothing: what was read is right
	// if it is written as it was.
	same := false
	if err := withCanonical(v, func(again []byte) { same = bytes.Equal(again, b) }); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	if !same {
		return fmt.Errorf("decoding: %w", errForm)
	}
	return nil
}

// decoder reads canonical JSON from front to back.
type decoder struct {
	canonicalizer
	whole string // a copy of in, to take strings from
}

// next skips the byte b if that is next. Unlike take it skips no white space.
func (d *decoder) next(b byte) bool {
	if d.pos < len(d.in) && d.in[d.pos] == b {
		d.pos++
		return true
	}
	return false
}

func (d *decoder) word(w string) bool {
	if strings.HasPrefix(d.whole[d.pos:], w) {
		d.pos += len(w)
		return true
	}
	return false
}

// read reads a value that lies at the given depth.
func (d *decoder) read(p *plan, v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	switch p.kind {
	case planString:
		s, err := d.str()
		v.SetString(s)
		return err
	case planText:
		return d.outside(v)
	case planInt, planUint:
		return d.number(p, v)
	case planBool:
		v.SetBool(d.word("true"))
		if !v.Bool() && !d.word("false") {
			return errForm
		}
		return nil
	case planTime:
		return d.time(v)
	case planStruct:
		return d.members(p, v, depth)
	case planPointer, planList, planMap, planBytes:
		if d.word("null") {
			return nil
		}
	}
	switch p.kind {
	case planPointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.read(p.elem, v.Elem(), depth)
	case planBytes:
		return d.bytes(v)
	case planList:
		return d.list(p, v, depth)
	case planMap:
		return d.entries(p, v, depth)
	}
	return d.other(v, depth)
}

// str reads a string, without a copy if nothing in it is escaped.
func (d *decoder) str() (string, error) {
	if !d.next('"') {
		return "", errForm
	}
	start := d.pos
	for d.pos < len(d.in) && plain[d.in[d.pos]] {
		d.pos++
	}
	if d.next('"') {
		return d.whole[start : d.pos-1], nil
	}
	d.pos = start - 1
	s, err := d.text()
	return string(s), err
}

// outside reads a Text.
func (d *decoder) outside(v reflect.Value) error {
	start := d.pos
	if !d.next('{') {
		s, err := d.str()
		v.SetString(s)
		return err
	}
	end := strings.IndexByte(d.whole[start:], '}')
	if end < 0 {
		return errForm
	}
	d.pos = start + end + 1
	return v.Addr().Interface().(*Text).UnmarshalJSON(d.in[start:d.pos])
}

func (d *decoder) number(p *plan, v reflect.Value) error {
	negative := d.next('-')
	start, n := d.pos, int64(0)
	for d.pos < len(d.in) && d.in[d.pos]-'0' < 10 && n <= maxInteger {
		n = 10*n + int64(d.in[d.pos]-'0')
		d.pos++
	}
	if negative {
		n = -n
	}
	switch {
	case d.pos == start:
		return errForm
	case p.kind == planInt && !v.OverflowInt(n):
		v.SetInt(n)
	case p.kind == planUint && n >= 0 && !v.OverflowUint(uint64(n)):
		v.SetUint(uint64(n))
	default:
		return errors.New("number out of range")
	}
	return nil
}

func (d *decoder) bytes(v reflect.Value) error {
	s, err := d.str()
	if err != nil {
		return err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	v.SetBytes(b)
	return err
}

func (d *decoder) time(v reflect.Value) error {
	s, err := d.str()
	if err != nil {
		return err
	}
	t := v.Addr().Interface().(*time.Time)
	*t, err = time.Parse(time.RFC3339Nano, s)
	return err
}

// members reads a struct. Members come in the plan's order, so that each is
// found by looking on from the one before it.
func (d *decoder) members(p *plan, v reflect.Value, depth int) error {
	if !d.next('{') {
		return errForm
	}
	fields := p.fields
	for first := true; !d.next('}'); first = false {
		if !first && !d.next(',') {
			return errForm
		}
		for len(fields) > 0 && !bytes.HasPrefix(d.in[d.pos:], fields[0].key) {
			fields = fields[1:]
		}
		if len(fields) == 0 {
			return errors.New("a member that is unknown, misplaced or not in canonical form")
		}
		d.pos += len(fields[0].key)
		if err := d.read(fields[0].plan, fields[0].of(v), depth+1); err != nil {
			return err
		}
		fields = fields[1:]
	}
	return nil
}

func (d *decoder) list(p *plan, v reflect.Value, depth int) error {
	if !d.next('[') {
		return errForm
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 1))
	for i := 0; !d.next(']'); i++ {
		if i > 0 && !d.next(',') {
			return errForm
		}
		if i == v.Cap() {
			v.Grow(i)
		}
		v.SetLen(i + 1)
		if err := d.read(p.elem, v.Index(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) entries(p *plan, v reflect.Value, depth int) error {
	if !d.next('{') {
		return errForm
	}
	v.Set(reflect.MakeMap(v.Type()))
	for first := true; !d.next('}'); first = false {
		if !first && !d.next(',') {
			return errForm
		}
		key, err := d.str()
		if err != nil {
			return err
		}
		if !d.next(':') {
			return errForm
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		if err := d.read(p.elem, elem, depth+1); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
	}
	return nil
}

// other reads what has no plan by way of encoding/json.
func (d *decoder) other(v reflect.Value, depth int) error {
	start := d.pos
	if _, err := d.value(nil, depth); err != nil {
		return err
	}
	return json.Unmarshal(d.in[start:d.pos], v.Addr().Interface())
}
