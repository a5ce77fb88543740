package carrel

import (
	"encoding/json"
	"testing"
)

func TestTextRoundTrip(t *testing.T) {
	for _, s := range []string{"", "plain", "\x00\x01\x1b[31m", "line\nline", "\u2028\u202e", "\xff\xfe", "a\xc3", "\xed\xa0\x80", "\ufffd", `{"base64":"/w=="}`} {
		b, err := Canonical(Text(s))
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		var back Text
		if err := json.Unmarshal(b, &back); err != nil || string(back) != s {
			t.Errorf("%q became %s and then %q, %v", s, b, back, err)
		}
	}
}

func TestDifferentTextsEncodeDifferently(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"\xff", "\xfe", "\ufffd", "/w==", `{"base64":"/w=="}`, "\xff\xff"} {
		b, err := Canonical(Text(s))
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[string(b)]; twice {
			t.Errorf("%q and %q both encode as %s", s, other, b)
		}
		seen[string(b)] = s
	}
}

func TestTextAcceptsOneSpelling(t *testing.T) {
	for _, in := range []string{
		`null`, `1`, `[]`, `{}`, `{"base64":"aGk="}`, `{"BASE64":"/w=="}`, `{"base64":"/w==","x":1}`,
		`{"base64":"/w"}`, `{"base64":"/x=="}`, `{"base64":"_w=="}`, `{"base64":"/w\n=="}`, `{"base64":null}`, `"\ud800"`,
	} {
		var text Text
		if err := text.UnmarshalJSON([]byte(in)); err == nil {
			t.Errorf("%s was read as %q", in, text)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("plain")
	f.Add("\xff\x00")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := Canonical(Text(s))
		if err != nil {
			t.Fatal(err)
		}
		var back Text
		if err := json.Unmarshal(b, &back); err != nil || string(back) != s {
			t.Fatalf("%q became %s and then %q, %v", s, b, back, err)
		}
	})
}
