// Package model is a scripted stand-in for an agent's model endpoint: it
// speaks enough of the Messages API for the real Claude Code client to work
// against it on loopback, with no account and no internet. It owns the script
// and what was asked of it. It is trusted with nothing: whatever key it is
// shown it only remembers, so that a test can say where a key travelled.
package model

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
)

// Step is one answer of the model: text, a tool to use, or text and then a
// tool. An answer without a tool ends the turn.
type Step struct {
	Text  string
	Tool  string         // the client's own tool, such as "Bash" or "Write"; empty: none
	Input map[string]any // what the tool is given
}

// Turn is what the model is asked: the user's words and what the tools used
// since then answered, in order.
type Turn struct {
	Prompt  string
	Results []string
}

// Script answers a turn. It is called again for a request that is repeated,
// and must give the same answer.
type Script func(Turn) Step

// Request is one request as it arrived.
type Request struct {
	Method string
	Path   string // with the query
	Header http.Header
	Body   []byte // at most maxBody bytes
}

// Model serves a script over HTTP and remembers every request. Its methods
// are safe for concurrent use.
type Model struct {
	script Script

	mu       sync.Mutex
	requests []Request // guarded by mu
}

// New returns a model that follows script.
func New(script Script) *Model { return &Model{script: script} }

// Requests returns a copy of what arrived so far, oldest first.
func (m *Model) Requests() []Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Request(nil), m.requests...)
}

// maxBody bounds a request: a whole conversation with its tool descriptions
// is well below it.
const maxBody = 32 << 20

// ServeHTTP implements http.Handler.
func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
		return
	}
	m.remember(r, body)
	switch {
	case r.Method != http.MethodPost:
		answer(w, map[string]any{"data": []any{}})
	case r.URL.Path == "/v1/messages/count_tokens":
		answer(w, map[string]any{"input_tokens": 10})
	case r.URL.Path == "/v1/messages":
		m.message(w, body)
	default:
		answer(w, map[string]any{})
	}
}

func (m *Model) remember(r *http.Request, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, Request{r.Method, r.URL.RequestURI(), r.Header.Clone(), body})
}

func (m *Model) message(w http.ResponseWriter, body []byte) {
	var q query
	if err := json.Unmarshal(body, &q); err != nil {
		http.Error(w, `{"type":"error","error":{"type":"invalid_request_error","message":"not a request"}}`, http.StatusBadRequest)
		return
	}
	// Requests without tools are the client's own side questions (a title, a
	// summary): they are no part of the script.
	step := Step{Text: "A task."}
	if len(q.Tools) > 0 {
		step = m.script(q.turn())
	}
	reply := newReply(q.Model, q.number(), step)
	if q.Stream {
		reply.stream(w)
		return
	}
	answer(w, reply.message())
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
