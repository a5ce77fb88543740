package carrel

import (
	"encoding/base64"
	"encoding/json"
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
	return json.Marshal(encodedText{base64.StdEncoding.EncodeToString([]byte(t))})
}

// UnmarshalJSON implements json.Unmarshaler. It accepts only what MarshalJSON
// produces: valid UTF-8 dressed up as base64 is refused.
func (t *Text) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err == nil {
		*t = Text(s)
		return nil
	}
	var e encodedText
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("text: neither a string nor {\"base64\"}: %w", err)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(e.Base64)
	if err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if utf8.Valid(raw) {
		return fmt.Errorf("text: base64 used for valid UTF-8")
	}
	*t = Text(raw)
	return nil
}
