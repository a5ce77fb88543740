package policy

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

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
