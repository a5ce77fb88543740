package carrel

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// plan is how values of one type are written and read in canonical form. It
// is made once for each type, so that a record costs no look-ups by name, no
// sorting and no second pass.
type plan struct {
	kind   planKind
	fields []planField // planStruct: in canonical order
	elem   *plan       // planPointer, planList, planMap
}

type planKind uint8

const (
	planOther planKind = iota // left to encoding/json, and then made canonical
	planString
	planText
	planInt
	planUint
	planBool
	planTime
	planStruct
	planPointer
	planList
	planMap
	planAny
	planBytes
)

type planField struct {
	index     []int
	at        int // the one in index, if it is alone; else -1
	name      []byte
	key       []byte // with quotes and colon
	plan      *plan
	omitEmpty bool
	omitZero  bool
}

var (
	planMu sync.Mutex                     // guards making plans
	plans  = map[reflect.Type]*plan{}     // guarded by planMu
	ready  sync.Map                       // of reflect.Type to *plan, whole ones only
	typeOf = reflect.TypeFor[time.Time]() // the two types with a form of their own
	textOf = reflect.TypeFor[Text]()

	marshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// planFor returns the plan of a type.
func planFor(t reflect.Type) *plan {
	if p, ok := ready.Load(t); ok {
		return p.(*plan)
	}
	planMu.Lock()
	defer planMu.Unlock()
	p := makePlan(t)
	ready.Store(t, p)
	return p
}

// makePlan makes a plan and those it needs. The caller holds planMu.
func makePlan(t reflect.Type) *plan {
	if p, ok := plans[t]; ok {
		return p // perhaps still being made: the type contains itself
	}
	p := &plan{kind: planKindOf(t)}
	plans[t] = p
	switch p.kind {
	case planPointer, planList, planMap:
		p.elem = makePlan(t.Elem())
	case planStruct:
		if p.fields = planFields(t); p.fields == nil {
			p.kind = planOther
		}
	}
	return p
}

func planKindOf(t reflect.Type) planKind {
	switch {
	case t == typeOf:
		return planTime
	case t == textOf:
		return planText
	case t == reflect.TypeFor[json.Number](), t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && ownForm(t):
		return planOther
	}
	switch t.Kind() {
	case reflect.String:
		return planString
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return planInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return planUint
	case reflect.Bool:
		return planBool
	case reflect.Struct:
		return planStruct
	case reflect.Pointer:
		return planPointer
	case reflect.Slice:
		switch {
		case t.Elem().Kind() != reflect.Uint8:
			return planList
		case !ownForm(t.Elem()):
			return planBytes
		}
	case reflect.Map:
		if t.Key().Kind() == reflect.String && !ownForm(t.Key()) {
			return planMap
		}
	case reflect.Interface:
		return planAny
	}
	return planOther
}

// ownForm reports whether a type says itself how it is encoded.
func ownForm(t reflect.Type) bool {
	if t.PkgPath() == "" && t.Kind() != reflect.Struct {
		return false // it has no name, and no methods
	}
	p := reflect.PointerTo(t)
	return p.Implements(marshaler) || p.Implements(textMarshaler)
}

// planFields returns the members of a struct in canonical order, or nil if
// there is anything about them that is better left to encoding/json.
func planFields(t reflect.Type) []planField {
	out := []planField{}
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct && f.IsExported() && !ownForm(f.Type):
			continue // its fields are listed by themselves
		case f.Anonymous, strings.Contains(","+options+",", ",string,"):
			return nil
		case !f.IsExported() || tag == "-":
			continue
		case name == "":
			name = f.Name
		}
		at := -1
		if len(f.Index) == 1 {
			at = f.Index[0]
		}
		out = append(out, planField{
			index: f.Index, at: at, name: []byte(name), key: append(appendString(nil, []byte(name)), ':'), plan: makePlan(f.Type),
			omitEmpty: strings.Contains(","+options+",", ",omitempty,"), omitZero: strings.Contains(","+options+",", ",omitzero,"),
		})
	}
	slices.SortFunc(out, func(a, b planField) int { return compareUTF16(a.name, b.name) })
	for i := range len(out) - 1 {
		if string(out[i].name) == string(out[i+1].name) {
			return nil
		}
	}
	return out
}

// of returns the field's value in a struct.
func (f *planField) of(v reflect.Value) reflect.Value {
	if f.at >= 0 {
		return v.Field(f.at)
	}
	return v.FieldByIndex(f.index)
}

// omitted reports whether encoding/json would leave the member out.
func (f *planField) omitted(v reflect.Value) bool {
	if f.omitEmpty {
		switch v.Kind() {
		case reflect.String, reflect.Slice, reflect.Map, reflect.Array:
			return v.Len() == 0
		case reflect.Struct:
		default:
			return v.IsZero()
		}
	}
	if f.omitZero {
		if z, ok := v.Interface().(interface{ IsZero() bool }); ok {
			return z.IsZero()
		}
		return v.IsZero()
	}
	return false
}
