// Package carrel is the vocabulary of Carrel: runs, actions, decisions,
// approvals, records and changes, and the one canonical encoding that digests,
// policies, approvals and the log agree on.
//
// It owns data only. It opens nothing, starts nothing and declares no
// interface, so that every other package, and programs outside this module,
// can import it. It is trusted to be deterministic: equal values encode to
// equal bytes.
package carrel
