package carrel

import (
	"crypto/sha256"
	"strings"
	"testing"
)

const emptyDigest = Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

func TestDigestOfNothing(t *testing.T) {
	if got := DigestBytes(nil); got != emptyDigest {
		t.Errorf("got %s", got)
	}
	if got := DigestHash(sha256.New()); got != emptyDigest {
		t.Errorf("got %s", got)
	}
	if got := emptyDigest.Short(); got != "e3b0c44298fc" {
		t.Errorf("short form is %s", got)
	}
	if got := Digest("sha256:ab").Short(); got != "ab" {
		t.Errorf("short form of a short one is %s", got)
	}
}

func TestParseDigestAcceptsOneSpelling(t *testing.T) {
	if _, err := ParseDigest(string(emptyDigest)); err != nil {
		t.Error(err)
	}
	hex := emptyDigest.Hex()
	for _, s := range []string{"", hex, "sha256:", "SHA256:" + hex, "sha256:" + strings.ToUpper(hex), "sha256:" + hex[1:], "sha256:" + hex + "0", "sha256:" + hex[:63] + "g", "sha512:" + hex, " sha256:" + hex, "sha256:" + hex + "\n"} {
		if _, err := ParseDigest(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestInvalidDigestsEqualNothing(t *testing.T) {
	for _, d := range []Digest{"", "sha256:", "x"} {
		if d.Equal(d) || d.Equal(emptyDigest) || emptyDigest.Equal(d) {
			t.Errorf("%q equals something", d)
		}
	}
	if !emptyDigest.Equal(emptyDigest) {
		t.Error("a digest does not equal itself")
	}
}
