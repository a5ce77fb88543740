// Package audit is the log: it gives records their order, makes them durable,
// hashes them into a Merkle tree and signs checkpoints of it.
//
// It owns the log's directory, the log's signing key and the second place that
// remembers how far the log had come. It is trusted never to acknowledge a
// record that a power cut could take back, never to lose or reorder one it
// acknowledged, and never to sign two histories. Formats and promises are in
// spec/log.md and spec/record.md.
package audit
