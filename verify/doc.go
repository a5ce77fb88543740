// Package verify checks what Carrel leaves behind without trusting Carrel: a
// log, a proof that something is in one, an attestation, an evidence pack. It
// needs no network, no running process, no state and no key but the public
// ones, and it builds on every system.
//
// What it reads may come from an attacker. It is trusted to report the first
// thing that is wrong and to pass only what is right in every byte: sizes are
// bounded, one spelling is accepted of everything, and nothing that is checked
// says which keys count; the caller does.
package verify
