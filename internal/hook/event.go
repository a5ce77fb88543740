package hook

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
)

// maxInput bounds what a client may say in one call.
const maxInput = 32 << 20

// Event is one call of a hook by a client. The clients name its members alike.
type Event struct {
	Name    string          `json:"hook_event_name"`
	Session string          `json:"session_id"`
	Cwd     string          `json:"cwd"`
	Mode    string          `json:"permission_mode"`
	Tool    string          `json:"tool_name"`
	Input   json.RawMessage `json:"tool_input"`
	ToolUse string          `json:"tool_use_id"`

	client *Client
}

// Event is a call of which only the hook's name is known, for an answer to
// what cannot be read; "" if not even that is.
func (c *Client) Event(name string) Event { return Event{Name: name, client: c} }

// Read reads what the client wrote. expected is the name of the hook as the
// settings registered it, "" if they do not say; another one is an error. On
// an error the call can still be answered.
func (c *Client) Read(raw []byte, expected string) (Event, error) {
	e := c.Event(expected)
	if len(raw) > maxInput {
		return e, fmt.Errorf("the client said more than %d bytes", maxInput)
	}
	said := Event{client: c}
	if err := decode(raw, &said); err != nil {
		return e, fmt.Errorf("what the client said is not its usual JSON: %w", err)
	}
	switch {
	case expected != "" && said.Name != expected:
		return e, fmt.Errorf("the client called %.40q where %s is registered", said.Name, expected)
	case said.Name == "":
		return said, errors.New("the client does not say which hook it called")
	}
	return said, nil
}

func (e Event) moment() moment { return e.client.moments[e.Name] }

// Judged reports whether the call is about a tool that has not run yet.
func (e Event) Judged() bool { return e.moment() == beforeTool || e.moment() == atPrompt }

// Ran reports whether the call is about a tool that has run.
func (e Event) Ran() bool { return e.moment() == afterTool }

// Begins and Ends report the first and the last calls of a session.
func (e Event) Begins() bool { return e.moment() == begins }

// Ends is told at Begins.
func (e Event) Ends() bool { return e.moment() == ends }

// Client is whose call it is.
func (e Event) Client() *Client { return e.client }

// Call is the tool the call is about.
func (e Event) Call() Call { return Call{Tool: e.Tool, Input: e.Input, Cwd: e.Cwd} }

// Facts say in a record whose call it was.
func (e Event) Facts() map[string]carrel.Text {
	facts := map[string]carrel.Text{"client": carrel.Text(e.client.Name), "hook": carrel.Text(cut(e.Name)), "session": carrel.Text(cut(e.Session))}
	for name, value := range map[string]string{"tool": e.Tool, "tool_use": e.ToolUse, "mode": e.Mode} {
		if value != "" {
			facts[name] = carrel.Text(cut(value))
		}
	}
	return facts
}

// cut bounds what a client can put into a record.
func cut(s string) string { return s[:min(len(s), 200)] }

// maxMessage bounds what a client shows of a reason.
const maxMessage = 2000

type object = map[string]any

// Reply is the answer in the client's words: always one JSON object.
func (e Event) Reply(a Answer) []byte {
	message := []rune(a.Message)
	a.Message = string(message[:min(len(message), maxMessage)])
	out, err := json.Marshal(e.client.reply(e, a))
	if err != nil { // strings always encode
		return []byte(`{"continue":false}`)
	}
	return out
}
