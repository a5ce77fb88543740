//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// attest measures signing what came of a run: three statements, announced in
// the log, proved and kept, beside cosign signing one statement for nobody to
// log. Starting the program is in each figure, and shown by itself.
func (b *bench) attest() error {
	home := b.path("attest-home")
	carrel, tree, branch, err := b.applied(home)
	if err != nil {
		return err
	}
	rows := []struct {
		name    string
		o       once
		missing string
	}{
		{name: "carrel: start, and name the key", o: carrel("identity", "show")},
		{name: "carrel attest: 3 statements, logged, proved, kept", o: carrel("attest", tree)},
		{name: "carrel attest: the same, and noted at the commit", o: carrel("attest", branch)},
		{name: "cosign attest-blob: 1 statement, not logged"},
		{name: "cosign version: start"},
	}
	rows[3].o, rows[4].o, rows[3].missing = b.cosign(home)
	rows[4].missing = rows[3].missing
	t := table{Title: fmt.Sprintf("Attesting a change, n = %d", b.o.n), Columns: []string{"ms", "p90"}}
	samples := make([]sample, len(rows))
	for i := range b.o.n + 1 {
		for j := range rows {
			if rows[j].missing != "" {
				continue
			}
			_ = os.Remove(filepath.Join(home, cosignBundle)) // else cosign asks, without end
			took, err := timed(rows[j].o)
			if err != nil {
				rows[j].missing = err.Error()
			} else if i > 0 {
				samples[j] = append(samples[j], float64(took.Microseconds())/1000)
			}
		}
	}
	for j, r := range rows {
		t.Rows = append(t.Rows, row{Name: r.name, Missing: r.missing, Figures: map[string]float64{"ms": samples[j].median(), "p90": samples[j].at(0.9)}})
	}
	b.print(t)
	return nil
}

// applied makes two changes, one in the tree and one on a branch, and returns
// them with what runs carrel where they are.
func (b *bench) applied(home string) (carrel func(args ...string) once, tree, branch string, err error) {
	ws := b.path("attested")
	if err = b.tree(ws, 20); err != nil {
		return nil, "", "", err
	}
	env := []string{"HOME=" + home, "XDG_STATE_HOME=" + home + "/state", "XDG_DATA_HOME=" + home + "/data", "XDG_CONFIG_HOME=" + home + "/config"}
	if err = os.MkdirAll(home, 0o700); err != nil {
		return nil, "", "", err
	}
	if err = os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[user]\n\tname = b\n\temail = b@example.com\n"), 0o600); err != nil {
		return nil, "", "", err
	}
	carrel = func(args ...string) once { return once{append([]string{b.bin}, args...), env, ws} }
	apply := func(file string, target ...string) error {
		for _, o := range []once{carrel("run", "--", "sh", "-c", "echo x > "+file), carrel("review", "--no-pager"), carrel("approve"), carrel(append([]string{"apply"}, target...)...)} {
			if _, err := timed(o); err != nil {
				return err
			}
		}
		return nil
	}
	if err = apply("branch.txt", "--branch", "attested"); err != nil {
		return nil, "", "", err
	}
	branch, err = newest(ws, env, b.bin)
	if err != nil {
		return nil, "", "", err
	}
	if err = apply("tree.txt"); err != nil {
		return nil, "", "", err
	}
	tree, err = newest(ws, env, b.bin)
	if err != nil {
		return nil, "", "", err
	}
	return carrel, tree, branch, nil
}

const cosignBundle = "out.sigstore.json"

// newest returns the change of the newest run.
func newest(ws string, env []string, bin string) (string, error) {
	cmd := exec.Command(bin, "show", "--json")
	cmd.Dir, cmd.Env = ws, append(os.Environ(), env...)
	out, err := cmd.Output()
	_, rest, ok := strings.Cut(string(out), `"id": "chg_`)
	if err != nil || !ok || len(rest) < 26 {
		return "", fmt.Errorf("carrel show: no change (%v)", err)
	}
	return "chg_" + rest[:26], nil
}

// cosign prepares its key and returns the commands, or why there are none.
func (b *bench) cosign(home string) (sign, start once, missing string) {
	out, err := exec.Command(".ci/checkers").Output()
	if err != nil {
		return sign, start, "cosign cannot be had: " + err.Error()
	}
	bin := filepath.Join(strings.TrimSpace(string(out)), "cosign")
	env := []string{"COSIGN_PASSWORD=", "HOME=" + home}
	predicate, blob := filepath.Join(home, "predicate.json"), filepath.Join(home, "blob")
	for path, text := range map[string]string{predicate: `{"buildDefinition":{"buildType":"x","externalParameters":{}},"runDetails":{"builder":{"id":"x"}}}`, blob: "patch\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return sign, start, err.Error()
		}
	}
	if _, err := timed(once{[]string{bin, "generate-key-pair"}, env, home}); err != nil {
		return sign, start, err.Error()
	}
	sign = once{[]string{bin, "attest-blob", "--key", "cosign.key", "--predicate", predicate, "--type", "slsaprovenance1",
		"--use-signing-config=false", "--tlog-upload=false", "--bundle", cosignBundle, "--yes", blob}, env, home}
	return sign, once{[]string{bin, "version"}, env, home}, ""
}
