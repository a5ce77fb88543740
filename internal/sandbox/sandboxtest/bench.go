package sandboxtest

import (
	"testing"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Bench measures a run of /bin/true from Start to the end of Wait.
func Bench(b *testing.B, tier sandbox.Tier) {
	t := &bed{b, tier, b.TempDir()}
	s := t.spec("/bin/true")
	for b.Loop() {
		d, err := t.start(s)
		if err == nil {
			_, err = d.Wait()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
