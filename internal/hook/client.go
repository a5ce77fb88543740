package hook

import (
	"slices"

	"github.com/carrel-dev/carrel"
)

// Client is what differs between the clients of agents: how their hooks and
// tools are called, and in which words they are answered. What is decided is
// the same for all.
type Client struct {
	Name  string // as on the command line and in records
	Title string // for people
	Agent string // its profile, and its command

	moments map[string]moment
	tools   map[string]tool
	own     map[string]bool              // tools that act on nothing but the conversation, or start something that has hooks of its own
	dir     string                       // its directory in the home
	notes   func(below []string) bool    // what it writes down there for itself
	scratch func(below []string) bool    // its files of a session in the temporary directory; nil: none
	reply   func(Event, Answer) object   // one JSON object, whatever the event
	enter   func(Command, string) object // the registration of one hook
	off     func(settings object) string // why settings keep hooks from being called; "" if nothing does
	hooks   []string                     // that are registered, in the order of a session
	insist  object                       // members of an organisation's settings that keep the hooks on
	probe   object                       // a call of a tool that writes .git/hooks/carrel-doctor
}

// moment is when a client calls a hook. The zero value is any that needs no
// more than a nod.
type moment int

const (
	another    moment = iota
	beforeTool        // a tool is about to run
	atPrompt          // the client is about to ask the person
	afterTool         // a tool has run
	begins            // a session begins
	ends              // a session, or a turn, ends
)

// clients are the ones answered here.
var clients = []*Client{claudeCode, geminiCLI, codex}

// Clients returns what is known, in the order in which it is listed.
func Clients() []*Client { return slices.Clone(clients) }

// Get returns the client of that name. Where there is none, it returns Claude
// Code and false: the answer to nobody knows whom is in its words.
func Get(name string) (*Client, bool) {
	for _, c := range clients {
		if c.Name == name {
			return c, true
		}
	}
	return claudeCode, false
}

// clientOf returns the client that the agent of an action works with.
func clientOf(agent string) *Client {
	for _, c := range clients {
		if c.Agent == agent {
			return c
		}
	}
	return claudeCode
}

// Registered lists the hooks that settings must name for the client to be live.
func (c *Client) Registered() []string { return slices.Clone(c.hooks) }

// BeforeTool is the hook that is asked before a tool runs.
func (c *Client) BeforeTool() string {
	for _, name := range c.hooks {
		if c.moments[name] == beforeTool {
			return name
		}
	}
	return ""
}

// tool says what a call of it would do.
type tool func(Place, Call, toolInput) ([]carrel.Action, error)

func set(names ...string) map[string]bool {
	out := map[string]bool{}
	for _, name := range names {
		out[name] = true
	}
	return out
}
