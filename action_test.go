package carrel

import (
	"fmt"
	"reflect"
	"testing"
)

// fill sets every field below v that can hold something to something that
// depends on n.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("value ", n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n + 1))
	case reflect.Uint32:
		v.SetUint(uint64(n + 1))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.SetMapIndex(key, value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n+i)
			}
		}
	}
}

// Every field but the identifier is part of what people approve.
func TestActionDigestCoversEveryField(t *testing.T) {
	empty, err := Action{}.Digest()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Digest]string{empty: "nothing"}
	fields := reflect.TypeFor[Action]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		var a Action
		fill(reflect.ValueOf(&a).Elem().Field(i), i)
		got, err := a.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[got]; twice && name != "ID" {
			t.Errorf("%s: same digest as %s", name, other)
		}
		if name == "ID" && got != empty {
			t.Error("the identifier changes the digest")
		}
		seen[got] = name
	}
}

// The gate clones what it is given: no later write may reach what it digested.
func TestActionCloneSharesNothing(t *testing.T) {
	var a Action
	fill(reflect.ValueOf(&a).Elem(), 1)
	before, err := a.Digest()
	if err != nil {
		t.Fatal(err)
	}
	c := a.Clone()
	if !reflect.DeepEqual(a, c) {
		t.Errorf("clone differs: %+v", c)
	}
	scribble(reflect.ValueOf(&a).Elem())
	after, err := c.Digest()
	if err != nil || after != before {
		t.Errorf("writing to the original changed the clone (%v): %+v", err, c)
	}
}

// scribble changes everything that is reachable from v.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("scribbled")
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			v.SetMapIndex(k, reflect.Zero(v.Type().Elem()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			scribble(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				scribble(v.Field(i))
			}
		}
	}
}
