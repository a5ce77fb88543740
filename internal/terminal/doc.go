// Package terminal owns what people see: the escaping of text that comes from
// elsewhere, the relay between the user's terminal and a desk's pty, the
// pager, the colours and the progress line.
//
// It is trusted with the user's terminal. Nothing a desk writes may set the
// clipboard, make the terminal type into the user's shell or hide what a
// reader has to judge; and whatever happens, the terminal is given back as it
// was. Outside the sandbox it is one of the few packages that start a program:
// the pager, and nothing else.
package terminal
