// Package archtest holds the rules of the architecture as tests: who may
// import whom, where processes may be started, where the environment may be
// read. Each rule prints its reason. It is trusted with nothing.
package archtest
