package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

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

// ask puts the input to the voice with this index.
func (r *remote) ask(voice int, in input) (Answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return fault("closed", "the policy is no longer in force"), false
	case r.process == nil && r.ends >= maxEnds:
		return fault("ended", fmt.Sprintf("the policy brought its evaluator down %d times and is not asked again", maxEnds)), false
	case r.process == nil:
		if _, err := r.start(); err != nil {
			r.ends++
			return fault("ended", err.Error()), false
		}
	}
	reply, err := r.process.Call(askMessage(voice, in), deadline+time.Second)
	if err != nil {
		r.process, r.ends = nil, r.ends+1
		return fault("ended", err.Error()), false
	}
	var answer answered
	if err := json.Unmarshal(reply, &answer); err != nil {
		return fault("ended", "the evaluator's answer cannot be read: "+err.Error()), false
	}
	return answer.Answer, answer.OK
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
// for a question, the index of the voice and the input as canonical JSON.
const (
	messageLoad = 'L'
	messageAsk  = 'A'
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

func askMessage(voice int, in input) []byte {
	return append([]byte{messageAsk, byte(voice >> 8), byte(voice)}, in.json...)
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
	case len(message) > 3 && message[0] == messageAsk:
		reply = s.ask(int(message[1])<<8|int(message[2]), message[3:])
	default:
		reply = answered{Answer: fault("fault", "a message that is no question")}
	}
	b, err := json.Marshal(reply)
	if err != nil {
		b, _ = json.Marshal(answered{Answer: fault("fault", err.Error())}) // a verdict and two plain texts
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

func (s *served) ask(voice int, input []byte) (out answered) {
	defer func() {
		if p := recover(); p != nil {
			out = answered{Answer: fault("fault", fmt.Sprintf("the policy failed: %v", p))}
		}
	}()
	value, err := parseCanonical(input)
	if err != nil || voice >= len(s.questions) {
		return answered{Answer: fault("fault", "a question that cannot be read")}
	}
	out.Answer, out.OK = s.questions[voice].answer(value)
	if out.Answer.Verdict != carrel.Allow && out.Answer.Verdict != carrel.Ask {
		out.Answer.Verdict = carrel.Deny
	}
	return out
}
