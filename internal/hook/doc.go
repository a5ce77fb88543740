// Package hook answers the hooks of agents' own clients: it turns what a
// client is about to do (a tool, a shell command, a file) into actions, takes
// them through the gate, all or nothing, and says the decision in the client's
// own words.
//
// It is trusted with an early, friendly refusal and with never answering
// anything but a denial when it fails. It is no wall: a client can be made to
// skip its hooks, and a program does what its command line does not show. What
// holds then are the walls of a desk.
package hook
