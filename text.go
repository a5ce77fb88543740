package carrel

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Text is a string that came from outside and may hold any bytes, such as a
// file name. In JSON it is a string when it is valid UTF-8 and otherwise
// {"base64": "…"}, so that nothing is lost and two different names never
// encode alike.
type Text string

type encodedText struct {
	Base64 string `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(encodedText{encodeBase64(string(t))})
}

func encodeBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// UnmarshalJSON implements json.Unmarshaler. It accepts only what MarshalJSON
// produces: valid UTF-8 dressed up as base64 is refused.
func (t *Text) UnmarshalJSON(b []byte) error {
	canonical, err := Canonicalize(b) // refuses lone surrogates, which decoding replaces
	if err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if len(canonical) > 0 && canonical[0] == '"' {
		return json.Unmarshal(canonical, (*string)(t))
	}
	body, ok := bytes.CutPrefix(canonical, []byte(`{"base64":"`))
	body, ok2 := bytes.CutSuffix(body, []byte(`"}`))
	raw, err := base64.StdEncoding.Strict().DecodeString(string(body))
	if !ok || !ok2 || err != nil || base64.StdEncoding.EncodeToString(raw) != string(body) {
		return errors.New(`text: neither a string nor {"base64"}`)
	}
	if utf8.Valid(raw) {
		return errors.New("text: base64 used for valid UTF-8")
	}
	*t = Text(raw)
	return nil
}
