package carrel

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// slowCanonical is Canonical without plans: what encoding/json writes, made
// canonical. The two must never differ.
func slowCanonical(v any) ([]byte, error) {
	return appendOther(nil, reflect.ValueOf(v), 0)
}

// slowDecode is Decode without plans.
func slowDecode(b []byte, v any) bool {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if dec.Decode(v) != nil {
		return false
	}
	again, err := slowCanonical(v)
	return err == nil && bytes.Equal(again, b)
}

var strangeStrings = []string{"", "a", "é", "\xff", "\u2028", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "<&>", "\U0001F600", "\ufffd", "\uffff", "/workspace/x"}

// randomize gives every field of v some value, and some none.
func randomize(r *rand.Rand, v reflect.Value, depth int) {
	if r.IntN(4) == 0 && depth > 0 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(strangeStrings[r.IntN(len(strangeStrings))])
		if v.Type() != textOf && r.IntN(20) > 0 && v.String() == "\xff" {
			v.SetString("valid")
		}
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, 1, -1, maxInteger, -maxInteger, r.Int64N(1 << 40)}[r.IntN(6)])
	case reflect.Uint32:
		v.SetUint(uint64(r.Uint32()))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		randomize(r, v.Elem(), depth+1)
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(256)))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
		for i := range v.Len() {
			randomize(r, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(4) {
			elem := reflect.New(v.Type().Elem()).Elem()
			randomize(r, elem, depth+1)
			v.SetMapIndex(reflect.ValueOf(strangeStrings[r.IntN(len(strangeStrings))]).Convert(v.Type().Key()), elem)
		}
	case reflect.Struct:
		if v.Type() == typeOf {
			v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<34), r.Int64N(2)*r.Int64N(1e9)).UTC()))
			return
		}
		for i := range v.NumField() {
			randomize(r, v.Field(i), depth+1)
		}
	}
}

// Everything that is stored or digested is written alike with and without
// plans, and read back as it was written.
func TestPlansChangeNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	written := 0
	for range 1000 {
		for _, v := range []any{new(Record), new(Change), new(Action), new(Approval), new([]Enforcement), new(map[string]Text), new([][]byte)} {
			randomize(r, reflect.ValueOf(v).Elem(), 0)
			want, wantErr := slowCanonical(v)
			got, err := Canonical(v)
			if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
				t.Fatalf("%+v\n is %s, %v\nand was %s, %v", v, got, err, want, wantErr)
			}
			if byValue, _ := Canonical(reflect.ValueOf(v).Elem().Interface()); !bytes.Equal(byValue, want) {
				t.Fatalf("by value %s, by pointer %s", byValue, want)
			}
			if err != nil {
				continue
			}
			written++
			back, slow := reflect.New(reflect.TypeOf(v).Elem()).Interface(), reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := Decode(got, back); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			if !slowDecode(got, slow) || !reflect.DeepEqual(back, slow) {
				t.Fatalf("%s\nis read as %+v\nand was as %+v", got, back, slow)
			}
		}
	}
	if written < 2500 {
		t.Errorf("only %d values could be written", written)
	}
}

func TestPlansKeepDepth(t *testing.T) {
	type nested struct {
		Next *nested `json:"n,omitempty"`
		Any  any     `json:"a,omitempty"`
	}
	for _, depth := range []int{1, 60, 63, 64, 65, 66, 100} {
		v, w := new(nested), any("end")
		for range depth - 1 {
			v, w = &nested{Next: v}, nested{Any: w}
		}
		for _, x := range []any{v, w} {
			want, wantErr := slowCanonical(x)
			got, err := Canonical(x)
			if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
				t.Errorf("depth %d: %v, without plans %v", depth, err, wantErr)
			}
			if err == nil && Decode(got, new(nested)) != nil && x == any(v) {
				t.Errorf("depth %d is not read back", depth)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		v := new(Record)
		randomize(r, reflect.ValueOf(v).Elem(), 0)
		if b, err := Canonical(v); err == nil {
			f.Add(b)
		}
	}
	for _, s := range []string{`{"v":01}`, `{"v":-0}`, `{"V":1}`, `{"v":1,"v":1}`, `{"time":"2026-01-01T00:00:00,5Z"}`, `{"note":{"base64":"/w=="}}`,
		`{"note":{"base64":"YQ=="}}`, `{"counts":{"b":1,"a":1}}`, `{"counts":{}}`, `{"action":null}`, `{"note":"\ud800"}`, `{"note":"\/"}`, ` {}`, `{} `, `{,}`, `{"v":1,}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, want Record
		err := Decode(b, &got)
		if slow := slowDecode(b, &want); (err == nil) != slow {
			t.Fatalf("%q: %v, without plans %v", b, err, slow)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q is read as %+v and was as %+v", b, got, want)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	r := Record{Version: 1, ID: NewRecordID(), Run: NewRunID(), Time: time.Unix(1e9, 1000).UTC(), Kind: KindIntent, Action: &Action{Operation: OpConnect, Host: "api.example.test", Port: 443}, Decision: &Decision{Verdict: Allow, Rules: []string{"user/egress"}}}
	line, _ := Canonical(r)
	for b.Loop() {
		var back Record
		if err := Decode(line, &back); err != nil {
			b.Fatal(err)
		}
	}
}
