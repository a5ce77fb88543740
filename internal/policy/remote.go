package policy

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy/evaluator"
)

// remote asks layers that people wrote, in a process that is bounded in
// memory and time. It starts that process again when a policy has brought it
// down, a few times: then those layers deny until there is a new engine.
type remote struct {
	layers []Layer

	mu      sync.Mutex // guards what follows, and is held while the process answers
	process *evaluator.Process
	ends    int // how often a process has ended
	closed  bool
}

// maxEnds bounds how often policies may bring their process down: starting it
// costs more than deciding, and the agent can choose what is asked.
const maxEnds = 20

// newRemote compiles the layers in a new process and returns their voices.
func newRemote(layers []Layer) (*remote, []voice, error) {
	r := &remote{layers: layers}
	r.mu.Lock()
	defer r.mu.Unlock()
	voices, err := r.start()
	return r, voices, err
}

// start starts a process and hands it the layers.
func (r *remote) start() ([]voice, error) {
	process, err := evaluator.Start()
	if err != nil {
		return nil, err
	}
	message, err := json.Marshal(r.layers)
	if err != nil {
		process.Close()
		return nil, fmt.Errorf("handing the policy over: %w", err)
	}
	reply, err := process.Call(append([]byte{messageLoad}, message...), maxCompile)
	if err != nil {
		return nil, fmt.Errorf("compiling the policy: %w", err)
	}
	var loaded loaded
	if err := json.Unmarshal(reply, &loaded); err != nil || loaded.Error != "" {
		process.Close()
		return nil, errors.Join(err, textError(loaded.Error))
	}
	r.process = process
	return loaded.Voices, nil
}

func textError(s string) error {
	if s == "" {
		return nil
	}
	return errors.New(s)
}

// asked is a question to the voice with this index.
type asked struct {
	voice int
	in    input
}

// begin puts questions to the process and returns what waits for the answers,
// one each. It must be called, once: nobody else is answered before. In
// between the caller may ask whoever answers in this process, which costs
// less than waking another.
func (r *remote) begin(questions []asked) (answers func() []answered) {
	r.mu.Lock()
	if fault, failed := r.ready(); failed {
		r.mu.Unlock()
		return func() []answered { return alike(fault, len(questions)) }
	}
	reply := r.process.Begin(askMessage(questions), time.Duration(len(questions))*deadline+time.Second)
	return func() []answered {
		defer r.mu.Unlock()
		text, err := reply()
		if err != nil {
			r.process, r.ends = nil, r.ends+1
			return alike(fault("ended", err.Error()), len(questions))
		}
		var out []answered
		if err = json.Unmarshal(text, &out); err == nil && len(out) != len(questions) {
			err = fmt.Errorf("%d answers to %d questions", len(out), len(questions))
		}
		if err != nil {
			return alike(fault("ended", "the evaluator's answer cannot be read: "+err.Error()), len(questions))
		}
		if slices.ContainsFunc(out, answered.late) {
			// What it took until then must not bring down the next question. The
			// asker has waited for this: it can have few processes started so.
			r.process.Close()
			r.process = nil
		}
		return out
	}
}

// alike is a fault for every question.
func alike(fault Answer, n int) []answered { return slices.Repeat([]answered{{Answer: fault}}, n) }

// ready makes sure that there is a process, or says why there is none.
func (r *remote) ready() (Answer, bool) {
	switch {
	case r.closed:
		return fault("closed", "the policy is no longer in force"), true
	case r.process != nil:
		return Answer{}, false
	case r.ends >= maxEnds:
		return fault("ended", fmt.Sprintf("the policy brought its evaluator down %d times and is not asked again", maxEnds)), true
	}
	if _, err := r.start(); err != nil {
		r.ends++
		return fault("ended", err.Error()), true
	}
	return Answer{}, false
}

// close ends the process.
func (r *remote) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.process != nil {
		r.process.Close()
		r.process = nil
	}
}

// The messages to an evaluator: a letter and, for a load, the layers as JSON;
// for questions, each voice's index and the input as canonical JSON with its
// length, which is 0 where it is the input before; for a question about a
// document that is no action, the layer and the document as JSON.
const (
	messageLoad  = 'L'
	messageAsk   = 'A'
	messageAbout = 'D'
)

// loaded answers a load.
type loaded struct {
	Voices []voice `json:"voices,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// answered answers a question.
type answered struct {
	Answer Answer
	OK     bool
}

// late reports whether the policy did not answer in time.
func (a answered) late() bool { return !a.OK && slices.Equal(a.Answer.Rules, []string{timedOut}) }

func askMessage(questions []asked) []byte {
	out := make([]byte, 1, 1<<10)
	out[0] = messageAsk
	for i, q := range questions {
		out = binary.BigEndian.AppendUint16(out, uint16(q.voice))
		text := q.in.json
		if i > 0 && q.in.digest == questions[i-1].in.digest {
			text = nil
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(text)))
		out = append(out, text...)
	}
	return out
}

// nextQuestion reads one question of such a message. ok is false at its end,
// and where it is broken off.
func nextQuestion(message []byte) (voice int, input, rest []byte, ok bool) {
	if len(message) < 6 {
		return 0, nil, nil, false
	}
	voice = int(binary.BigEndian.Uint16(message))
	size := uint64(binary.BigEndian.Uint32(message[2:]))
	if rest = message[6:]; size > uint64(len(rest)) {
		return 0, nil, nil, false
	}
	return voice, rest[:size], rest[size:], true
}

// Inside reports whether this process was started to evaluate policies, and
// if so does that until its supervisor is gone. Every program that makes
// engines calls it first in main.
func Inside() bool {
	if !evaluator.Inside() {
		return false
	}
	var s served
	evaluator.Serve(s.answer)
	return true
}

// served is the evaluator's side.
type served struct{ questions []*question }

func (s *served) answer(message []byte) []byte {
	var reply any
	switch {
	case len(message) > 0 && message[0] == messageLoad:
		reply = s.load(message[1:])
	case len(message) > 0 && message[0] == messageAsk:
		reply = s.askAll(message[1:])
	case len(message) > 0 && message[0] == messageAbout:
		reply = about(message[1:])
	}
	b, err := json.Marshal(reply)
	if err != nil {
		return nil // which nobody takes for an answer
	}
	return b
}

func (s *served) load(message []byte) (out loaded) {
	defer func() {
		if p := recover(); p != nil {
			out = loaded{Error: fmt.Sprintf("compiling the policy failed: %v", p)}
		}
	}()
	var layers []Layer
	if err := json.Unmarshal(message, &layers); err != nil {
		return loaded{Error: err.Error()}
	}
	for _, l := range layers {
		p, err := compileLayer(l)
		if err != nil {
			return loaded{Error: fmt.Sprintf("policy layer %s: %v", l.Name, err)}
		}
		out.Voices = append(out.Voices, p.voices...)
		s.questions = append(s.questions, p.questions...)
	}
	return out
}

// askAll answers questions up to one that cannot be read.
func (s *served) askAll(message []byte) []answered {
	var out []answered
	var value *ast.Term
	for {
		voice, input, rest, ok := nextQuestion(message)
		if !ok {
			return out
		}
		if len(input) > 0 {
			var err error
			if value, err = parseCanonical(input); err != nil {
				return out
			}
		}
		if value == nil || voice >= len(s.questions) {
			return out
		}
		out = append(out, answerTo(s.questions[voice], value))
		message = rest
	}
}

// answerTo is the answer in a form that says nothing but allow, ask and deny.
func answerTo(q *question, value *ast.Term) (out answered) {
	defer func() {
		if p := recover(); p != nil {
			out = answered{Answer: fault("fault", fmt.Sprintf("the policy failed: %v", p))}
		}
	}()
	out.Answer, out.OK = q.answer(value)
	if out.Answer.Verdict != carrel.Allow && out.Answer.Verdict != carrel.Ask {
		out.Answer.Verdict = carrel.Deny
	}
	return out
}
