package quote

import "testing"

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"a": "a", "a b": "a b", "": "", `a"b`: `"a\"b"`, `a\b`: `"a\\b"`, "a\nb": `"a\012b"`, "\x7f": `"\177"`, "é": `"\303\251"`,
	} {
		if got := Name(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	if got := Always("a:b"); got != `"a:b"` {
		t.Error(got)
	}
}

// What git prints with other escapes, and what is no name.
func TestRead(t *testing.T) {
	for printed, want := range map[string]string{`"a\tb"`: "a\tb", `"\303\251"`: "é", "plain": "plain"} {
		if got, ok := Read(printed); !ok || got != want {
			t.Errorf("%s: %q, %v", printed, got, ok)
		}
	}
	for _, printed := range []string{"", `""`, `"`, `"a`, `"a\`, `"a\"`, `"\8"`, `"\400"`, `"\12"`} {
		if got, ok := Read(printed); ok {
			t.Errorf("%s: %q", printed, got)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, name := range []string{"a", "a b", "a\"b", "\\", "\n\x00\xff", "é"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" {
			return
		}
		if got, ok := Read(Always(name)); !ok || got != name {
			t.Errorf("%q came back as %q", name, got)
		}
		if name[0] == '"' || Name(name) == name {
			return
		}
		if got, ok := Read(Name(name)); !ok || got != name {
			t.Errorf("%q came back as %q", name, got)
		}
	})
}
