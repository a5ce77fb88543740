// Package verify checks what Carrel leaves behind without trusting Carrel: a
// record, a signed checkpoint, a whole log, a proof that a record is in one, an
// attestation, an evidence pack. It needs files and public keys; no network, no
// daemon, no secret.
//
// It owns the strict readings of the formats in spec/. It is trusted to say
// "right" only of what is right: everything it reads may be hostile, so every
// parser is bounded and accepts one spelling only. Nothing that is checked says
// which keys count; the caller does.
package verify
