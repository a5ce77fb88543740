package model

import (
	"encoding/json"
	"strings"
)

// query is the part of a request that the script depends on.
type query struct {
	Model    string            `json:"model"`
	Stream   bool              `json:"stream"`
	Tools    []json.RawMessage `json:"tools"`
	Messages []struct {
		Role    string  `json:"role"`
		Content content `json:"content"`
	} `json:"messages"`
}

// content is a message's blocks. On the wire it is a string or a list.
type content []block

type block struct {
	Type    string  `json:"type"`
	Text    string  `json:"text"`
	Content content `json:"content"` // of a tool_result
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *content) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		*c = content{{Type: "text", Text: text}}
		return nil
	}
	return json.Unmarshal(raw, (*[]block)(c))
}

func (c content) text() string {
	var parts []string
	for _, b := range c {
		if b.Type == "text" {
			parts = append(parts, b.Text)
		}
	}
	return strings.Join(parts, "\n")
}

func (c content) results() []string {
	var out []string
	for _, b := range c {
		if b.Type == "tool_result" {
			out = append(out, b.Content.text())
		}
	}
	return out
}

// number tells this answer from the others of its conversation: identifiers
// of tool uses must differ, or the client drops their results as repetitions.
func (q query) number() int { return len(q.Messages) }

// turn reads the conversation from its end: the results that came in since
// the user last said something, and what that was. The answer so depends on
// the conversation alone, and a repeated request gets the same one.
func (q query) turn() Turn {
	var t Turn
	for i := len(q.Messages) - 1; i >= 0; i-- {
		m := q.Messages[i]
		if m.Role != "user" {
			continue
		}
		results := m.Content.results()
		if len(results) == 0 {
			t.Prompt = m.Content.text()
			return t
		}
		t.Results = append(results, t.Results...)
	}
	return t
}
