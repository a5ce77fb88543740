package model

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// reply is one answer in the shape of the Messages API.
type reply struct {
	model  string
	id     string
	blocks []map[string]any
	stop   string
}

func newReply(model string, n int, s Step) reply {
	r := reply{model: model, id: fmt.Sprintf("msg_%04d", n), stop: "end_turn"}
	if s.Text != "" || s.Tool == "" {
		r.blocks = append(r.blocks, map[string]any{"type": "text", "text": s.Text})
	}
	if s.Tool != "" {
		input := s.Input
		if input == nil {
			input = map[string]any{}
		}
		r.blocks = append(r.blocks, map[string]any{
			"type": "tool_use", "id": fmt.Sprintf("toolu_%04d", n), "name": s.Tool, "input": input,
		})
		r.stop = "tool_use"
	}
	return r
}

// message is the reply as one JSON document.
func (r reply) message() map[string]any {
	return map[string]any{
		"id": r.id, "type": "message", "role": "assistant", "model": r.model,
		"content": r.blocks, "stop_reason": r.stop, "stop_sequence": nil,
		"usage": map[string]any{"input_tokens": 10, "output_tokens": 10},
	}
}

// stream sends the reply as server-sent events.
func (r reply) stream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	start := r.message()
	start["content"], start["stop_reason"] = []any{}, nil
	send(w, "message_start", map[string]any{"message": start})
	for i, b := range r.blocks {
		empty, delta := opening(b)
		send(w, "content_block_start", map[string]any{"index": i, "content_block": empty})
		send(w, "content_block_delta", map[string]any{"index": i, "delta": delta})
		send(w, "content_block_stop", map[string]any{"index": i})
	}
	send(w, "message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": r.stop, "stop_sequence": nil},
		"usage": map[string]any{"output_tokens": 10},
	})
	send(w, "message_stop", map[string]any{})
}

// opening splits a block into its empty form and the delta that fills it.
func opening(b map[string]any) (empty, delta map[string]any) {
	if b["type"] == "text" {
		return map[string]any{"type": "text", "text": ""},
			map[string]any{"type": "text_delta", "text": b["text"]}
	}
	input, _ := json.Marshal(b["input"])
	return map[string]any{"type": "tool_use", "id": b["id"], "name": b["name"], "input": map[string]any{}},
		map[string]any{"type": "input_json_delta", "partial_json": string(input)}
}

func send(w http.ResponseWriter, name string, data map[string]any) {
	data["type"] = name
	line, _ := json.Marshal(data)
	_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, line)
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}
