// Package e2e drives the built binary as a person would: attacks with the
// legitimate operation right beside them, real projects and the real Claude
// Code client. It owns no code of the product and is trusted with nothing;
// each test works in directories of its own, as root and as an ordinary user.
package e2e
