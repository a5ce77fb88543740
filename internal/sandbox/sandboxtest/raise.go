package sandboxtest

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// raised: until a start is decided its program does not run, and standard
// input is left to whoever asks the user. What nobody starts is taken down.
func raised(b *bed) {
	in, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	defer in.Close()
	if _, err := w.WriteString("yes"); err != nil {
		b.t.Fatal(err)
	}
	w.Close()
	s := b.spec("/bin/sh", "-c", "cat > /home/agent/ran")
	s.Stdin = in
	ran := filepath.Join(b.dir, "home", "ran")

	attached := make(chan struct{})
	s.Attach = closing(attached)
	before := b.settled()
	b.tier.Raise(b.t.Context(), s)
	<-attached
	time.Sleep(100 * time.Millisecond) // longer than the rest of a start takes
	if n, err := unix.IoctlGetInt(int(in.Fd()), unix.TIOCINQ); n != 3 || err != nil {
		b.t.Errorf("%d bytes of standard input are left, %v; want 3", n, err)
	}
	b.tier.Discard()
	if _, err := os.Stat(ran); err == nil {
		b.t.Error("the program ran before its start was decided")
	}
	b.waitFor(func() bool { return b.taken() == before })

	s.Attach = closing(make(chan struct{}))
	b.tier.Raise(b.t.Context(), s)
	d := b.mustStart(s)
	if exit, err := d.Wait(); err != nil || exit.Code != 0 {
		b.t.Errorf("exit %+v, %v", exit, err)
	}
	if got, _ := os.ReadFile(ran); string(got) != "yes" {
		b.t.Errorf("the program read %q", got)
	}
}

// closing says that the walls are being built.
func closing(attached chan struct{}) func(ctx context.Context, s sandbox.Sockets) error {
	return func(_ context.Context, s sandbox.Sockets) error {
		for _, f := range []*os.File{s.TCP, s.DNS, s.DNSTCP, s.Route, s.Netfilter} {
			if f != nil {
				f.Close()
			}
		}
		close(attached)
		return nil
	}
}

// raisedForAnother: walls built for one program are not used for another one.
func raisedForAnother(b *bed) {
	s := b.spec("/bin/sh", "-c", "echo first")
	s.Stdout = b.file("stdout")
	b.tier.Raise(b.t.Context(), s)
	s.Args = []string{"/bin/sh", "-c", "echo second"}
	if _, err := b.mustStart(s).Wait(); err != nil {
		b.t.Fatal(err)
	}
	if out := b.text(s.Stdout); out != "second\n" {
		b.t.Errorf("what ran says %q", out)
	}
}
