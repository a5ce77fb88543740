// Package policy decides actions: it compiles the layers of policy once, asks
// those that govern an operation, and joins their answers so that any doubt
// is a denial. It is the only importer of OPA.
//
// It owns what a policy sees (spec/policy-input.md) and what its answers
// mean. It is trusted with every decision; what it evaluates is trusted only
// to narrow: a policy has no I/O, no clock and no randomness, and a deadline.
package policy
