package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy/evaluator"
)

// AskAbout asks the files of l about a document that is no action, such as
// what an attestation says. All files must be of one package, or l must name
// its entry point; there is no floor and no other layer. Like a decision, the
// answer is allow only if `allow` is true and nothing is denied; what fails is
// an answer that denies. It is compiled and evaluated in a bounded process
// that ends with the call. An error says that there is no policy to ask.
func AskAbout(l Layer, document any) (Answer, error) {
	answer, err := askAbout(l, document)
	if err != nil {
		return Answer{}, fmt.Errorf("policy %s: %w", l.Name, err)
	}
	return answer, nil
}

func askAbout(l Layer, document any) (Answer, error) {
	encoded, err := carrel.Canonical(document)
	if err != nil {
		return Answer{}, fmt.Errorf("input: %w", err)
	}
	message, err := json.Marshal(aboutMessage{l, encoded})
	if err != nil {
		return Answer{}, fmt.Errorf("handing the policy over: %w", err)
	}
	process, err := evaluator.Start()
	if err != nil {
		return Answer{}, err
	}
	defer process.Close()
	reply, err := process.Call(append([]byte{messageAbout}, message...), maxCompile+deadline)
	if errors.Is(err, evaluator.ErrEnded) {
		return fault("ended", err.Error()), nil
	}
	var out aboutReply
	if err == nil {
		err = json.Unmarshal(reply, &out)
	}
	return out.Answer, errors.Join(err, textError(out.Error))
}

type aboutMessage struct {
	Layer    Layer
	Document json.RawMessage
}

type aboutReply struct {
	answered
	Error string // there is no policy to ask
}

// about is the evaluator's side of AskAbout.
func about(message []byte) (out aboutReply) {
	defer func() {
		if p := recover(); p != nil {
			out = aboutReply{Error: fmt.Sprintf("compiling the policy failed: %v", p)}
		}
	}()
	var m aboutMessage
	err := json.Unmarshal(message, &m)
	var q *question
	if err == nil {
		q, err = aboutQuestion(m.Layer)
	}
	var input *ast.Term
	if err == nil {
		input, err = parseCanonical(m.Document)
	}
	if err != nil {
		return aboutReply{Error: err.Error()}
	}
	return aboutReply{answered: answerTo(q, input)} // one that failed denies, and says why
}

// aboutQuestion compiles l and makes the question to its one package.
func aboutQuestion(l Layer) (*question, error) {
	p, err := newProgram(l)
	if err != nil {
		return nil, err
	}
	pkg, err := onlyPackage(l, p.modules)
	if err != nil {
		return nil, err
	}
	return p.question(voice{Layer: l.Name, Kind: l.Kind, Package: pkg})
}

// onlyPackage is the package that is asked.
func onlyPackage(l Layer, modules []module) (string, error) {
	if l.Entry != "" {
		return l.Entry, nil
	}
	var pkgs []string
	for _, m := range modules {
		if !slices.Contains(pkgs, m.pkg()) {
			pkgs = append(pkgs, m.pkg())
		}
	}
	if len(pkgs) != 1 {
		return "", fmt.Errorf("its files are of %d packages (%v), and which to ask is not said", len(pkgs), pkgs)
	}
	return pkgs[0], nil
}
