package demo

import (
	"errors"
	"fmt"
)

// agent is who works in the demo: the shell script, or the real client.
type agent interface {
	open(s *stage) (close func(), err error) // starts what the agent needs on the host
	secrets() []string                       // of the user's environment: variables that must stay outside
	flags(s *stage) []string                 // of carrel run
	command(s *stage) []string               // what runs at the desk
	shown() []string                         // the command as the demo prints it
	made() string                            // the file it was asked for
	check(s *stage) error                    // looks at the host while the agent's helpers still run
}

// ErrNoSuchAgent means that Options.Agent is none that a demo is there for.
var ErrNoSuchAgent = errors.New("there is no demo with")

func chooseAgent(opts Options) (agent, error) {
	switch opts.Agent {
	case "":
		return script{}, nil
	case "claude":
		return findClaude(opts.Path)
	}
	return nil, fmt.Errorf("%w %q: leave --agent out, or say --agent claude", ErrNoSuchAgent, opts.Agent)
}

// script is the shell script that does good and bad.
type script struct{}

func (script) open(*stage) (func(), error) { return func() {}, nil }
func (script) secrets() []string           { return nil }
func (script) made() string                { return "test/greet_test.sh" }
func (script) shown() []string             { return []string{"agent.sh"} }
func (script) check(*stage) error          { return nil }

func (script) flags(*stage) []string {
	return []string{"--env", "DEMO_PID", "--env", "DEMO_HOME"}
}

func (script) command(s *stage) []string { return []string{s.path("agent.sh")} }
