package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
)

// stamp tells every value of the file where it was said.
func (f *File) stamp(s Source) {
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		if st, ok := v.Addr().Interface().(interface{ stamp(Layer, string) }); ok {
			st.stamp(s.Layer, s.Path)
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Map:
			for _, k := range v.MapKeys() {
				e := reflect.New(v.Type().Elem()).Elem()
				e.Set(v.MapIndex(k))
				walk(e)
				v.SetMapIndex(k, e)
			}
		}
	}
	walk(reflect.ValueOf(f).Elem())
}

// resolve makes a path absolute: "~/" is the user's home, and what is relative
// is relative to the file's directory. A repository says absolute paths only,
// so that people see what they accept.
func (s Source) resolve(p *string) error {
	home, tilde := strings.CutPrefix(*p, "~/")
	switch {
	case *p == "" || strings.ContainsRune(*p, 0):
		return errors.New("an empty path")
	case tilde && s.Home != "":
		*p = filepath.Join(s.Home, home)
	case filepath.IsAbs(*p):
		*p = filepath.Clean(*p)
	case s.Layer == Repository || tilde:
		return fmt.Errorf("%q is not an absolute path", cut(*p))
	default:
		*p = filepath.Join(filepath.Dir(s.Path), *p)
	}
	return nil
}
