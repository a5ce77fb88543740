package sandboxtest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest/kernel"
)

// Ordinary runs the named test of this binary again as an ordinary user.
func Ordinary(t *testing.T, test string) { needs.AsUser(t, "^"+test+"$") }

// OnKernel runs those cases of the suite that are walls again, on a kernel
// that lacks something (of package kernel). The named test must run the suite.
func OnKernel(t *testing.T, lacks, test string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range cases {
		if c.wall {
			names = append(names, c.name)
		}
	}
	cmd := exec.Command(self, kernel.Verb, lacks, "--", self, "-test.run", "^"+test+"$/^("+strings.Join(names, "|")+")$", "-test.v")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range names {
		if !strings.Contains(string(out), "--- PASS: "+test+"/"+name+" ") && !strings.Contains(string(out), "--- SKIP: "+test+"/"+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
}
