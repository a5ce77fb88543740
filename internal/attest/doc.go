// Package attest turns what the log says of a run, and the change that came of
// it, into signed statements that strangers can check: SLSA provenance, a
// runtime trace and a verification result, each in a Sigstore bundle.
//
// It owns the signing key and the forms of the statements. It is trusted with
// saying only what the records and the frozen change say: nothing that an
// agent wrote is believed about itself, and what is not known is left out, or
// said to be unknown. Whoever owns the key can claim anything in this
// installation's name, but not that its log recorded it.
package attest
