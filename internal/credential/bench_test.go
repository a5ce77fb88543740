package credential

import (
	"bytes"
	"io"
	"testing"
)

// BenchmarkAnswerFilter is what reading every answer of a bound host costs.
func BenchmarkAnswerFilter(b *testing.B) {
	hide := &texts{spellings(secretOf["github"], newPlaceholder(secretOf["github"], testTime))}
	body := bytes.Repeat([]byte(`{"name":"greeting","version":"1.0.0","ghp":"c2VjcmV0","n":12345}`+"\n"), 1<<14)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		s := &stream{from: bytes.NewReader(body), texts: hide}
		s.look = func(p []byte) error { hide.replace(p); return nil }
		if _, err := io.Copy(io.Discard, s); err != nil {
			b.Fatal(err)
		}
	}
}
