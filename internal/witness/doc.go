// Package witness asks witnesses to cosign checkpoints of the log, as C2SP
// tlog-witness has it.
//
// It owns the requests to them and the reading of their answers. It is trusted
// to take as a cosignature only what the witness's key signed, over exactly the
// checkpoint that was sent, now; and to notice that a witness knows another
// past of the log. Whatever a witness answers, it is bounded in time and size.
package witness
