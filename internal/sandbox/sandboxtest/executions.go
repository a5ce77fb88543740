package sandboxtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// watched runs a script and returns what it executed, in the order in which it
// was asked about. Programs whose command contains refused do not run.
func (b *bed) watched(script, refused string) (seen []sandbox.Execution, out, errs string, exit sandbox.Exit) {
	s := b.spec("/bin/sh", "-c", script)
	var mu sync.Mutex
	s.Executed = func(_ context.Context, e sandbox.Execution) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, e)
		if refused != "" && strings.Contains(strings.Join(e.Argv, " "), refused) && e.Parent != 1 {
			return errors.New("not at this desk")
		}
		return nil
	}
	out, errs, exit = b.run(s)
	return seen, out, errs, exit
}

func executionsAreSeen(b *bed) {
	seen, out, errs, exit := b.watched("cd /tmp && /usr/bin/env true one 'two words' && cp /bin/true mine && ./mine && echo end", "")
	if exit.Code != 0 || out != "end\n" {
		b.t.Fatalf("%+v %q %q", exit, out, errs)
	}
	var commands []string
	for _, e := range seen {
		if e.Unread != nil || e.Digest == "" || e.PID <= 1 || e.Parent < 1 {
			b.t.Errorf("%+v", e)
		}
		commands = append(commands, e.Path+" "+strings.Join(e.Argv[1:], "|")+" in "+e.Cwd)
	}
	for _, want := range []string{"/usr/bin/env true|one|two words in /tmp", "/usr/bin/true one|two words in /tmp", "/tmp/mine  in /tmp"} {
		if !slices.Contains(commands, want) {
			b.t.Errorf("%q is not among %q", want, commands)
		}
	}
	if first := seen[0]; first.Parent != 1 || !strings.HasSuffix(first.RawPath, "/bin/sh") {
		b.t.Errorf("the agent itself comes first, not %+v", first)
	}
	i := slices.IndexFunc(seen, func(e sandbox.Execution) bool { return e.RawPath == "./mine" })
	j := slices.IndexFunc(seen, func(e sandbox.Execution) bool { return e.Path == "/usr/bin/true" })
	if i < 0 || j < 0 || seen[i].Digest != seen[j].Digest || seen[i].Parent != seen[0].PID {
		b.t.Errorf("a copy has another digest than its original, or another parent: %+v", seen)
	}
}

func executionsAreRefused(b *bed) {
	_, out, errs, exit := b.watched("/usr/bin/env false; /usr/bin/env true; echo $?; no-such-program; echo $?", "env false")
	if exit.Code != 0 || out != "0\n127\n" || !strings.Contains(errs, "not at this desk") {
		b.t.Errorf("%+v %q %q", exit, out, errs)
	}
	seen, out, _, _ := b.watched("/usr/bin/env false || echo refused; exec 2>&-; /usr/bin/env false || echo refused", "env false")
	if out != "refused\nrefused\n" || len(seen) != 3 {
		b.t.Errorf("%q %+v", out, seen)
	}
}

// programsWithoutAPath are executed by descriptor: from memory, and through
// /proc.
func programsWithoutAPath(b *bed) {
	seen, out, errs, exit := b.watched("exec /proc/self/exe -c 'echo again'", "")
	if exit.Code != 0 || out != "again\n" || len(seen) != 2 || seen[1].Digest != seen[0].Digest {
		b.t.Errorf("%+v %q %q %+v", exit, out, errs, seen)
	}
}
