package git

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hostile is a repository that tries to run something on the host.
type hostile struct {
	t           *testing.T
	dir, canary string
	touch       string // a program that makes the canary, whatever its arguments
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{t: t, dir: sample(t)}
	out := t.TempDir()
	h.canary, h.touch = filepath.Join(out, "canary"), filepath.Join(out, "touch")
	if err := os.WriteFile(h.touch, []byte("#!/bin/sh\n: > "+h.canary+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hostile) config(settings ...string) {
	h.t.Helper()
	for i := 0; i < len(settings); i += 2 {
		plain(h.t, h.dir, "config", settings[i], settings[i+1])
	}
}

func (h *hostile) sang() bool {
	_, err := os.Lstat(h.canary)
	_ = os.Remove(h.canary)
	return err == nil
}

// guarded runs a command behind the table, on the hostile git directory.
func (h *hostile) guarded(stdin string, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := execute(ctx, call{gitDir: filepath.Join(h.dir, ".git"), command: command, env: []string{"GIT_WORK_TREE=" + h.dir}, stdin: strings.NewReader(stdin)})
	return string(out), err
}

func (h *hostile) plain(stdin string, command ...string) {
	cmd := exec.Command("git", command...)
	cmd.Dir, cmd.Stdin = h.dir, strings.NewReader(stdin)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com"}
	_ = cmd.Run()
}

// attack is how a repository makes plain git run something.
type attack struct {
	plant   func(h *hostile)
	stdin   string
	command []string
}

func setting(pairs ...string) func(h *hostile) {
	return func(h *hostile) {
		mine := make([]string, len(pairs)) // the table is used again where tests run twice
		for i := range pairs {
			mine[i] = strings.ReplaceAll(pairs[i], "TOUCH", h.touch)
		}
		h.config(mine...)
	}
}

const wantPassword = "protocol=https\nhost=example.test\n\n"

// attacks has one entry for each row that stops something from running.
var attacks = map[string]attack{
	"core.hooksPath=/dev/null": {func(h *hostile) {
		_ = os.MkdirAll(h.dir+"/.git/hooks", 0o755)
		_ = os.Symlink(h.touch, h.dir+"/.git/hooks/reference-transaction")
	}, "", []string{"update-ref", "refs/heads/new", "HEAD"}},
	"core.fsmonitor=false":           {setting("core.fsmonitor", "TOUCH"), "", []string{"status"}},
	"core.sshCommand=false":          {setting("core.sshCommand", "TOUCH"), "", []string{"ls-remote", "ssh://example.test/x"}},
	"core.gitProxy=false":            {setting("core.gitProxy", "TOUCH"), "", []string{"ls-remote", "git://example.test/x"}},
	"core.askPass=true":              {setting("core.askPass", "TOUCH"), wantPassword, []string{"credential", "fill"}},
	"core.editor=true":               {setting("core.editor", "TOUCH"), "", []string{"commit", "--allow-empty"}},
	"core.alternateRefsCommand=true": {func(h *hostile) { h.alternate(); h.config("core.alternateRefsCommand", h.touch) }, "", []string{"rev-list", "--alternate-refs"}},
	"core.attributesFile=/dev/null":  {func(h *hostile) { h.filter(); h.config("core.attributesFile", h.dir+"/rules") }, "", []string{"add", "new"}},
	"diff.external=":                 {func(h *hostile) { write(h.t, h.dir+"/README", "changed"); h.config("diff.external", h.touch) }, "", []string{"diff"}},
	"credential.helper=":             {setting("credential.helper", "TOUCH"), wantPassword, []string{"credential", "fill"}},
	"gpg.program=false":              {setting("gpg.program", "TOUCH"), "", []string{"commit", "-S", "--allow-empty", "-m", "x"}},
	"gpg.ssh.program=false":          {setting("gpg.format", "ssh", "user.signingkey", "key::ssh-ed25519 AAAA", "gpg.ssh.program", "TOUCH"), "", []string{"commit", "-S", "--allow-empty", "-m", "x"}},
	"gpg.x509.program=false":         {setting("gpg.format", "x509", "gpg.x509.program", "TOUCH"), "", []string{"commit", "-S", "--allow-empty", "-m", "x"}},
	"gpg.ssh.defaultKeyCommand=":     {setting("gpg.format", "ssh", "gpg.ssh.defaultKeyCommand", "TOUCH"), "", []string{"commit", "-S", "--allow-empty", "-m", "x"}},
	"commit.gpgSign=false":           {setting("commit.gpgSign", "true", "gpg.program", "TOUCH"), "", []string{"commit", "--allow-empty", "-m", "x"}},
	"protocol.allow=never":           {setting("protocol.allow", "always"), "", []string{"ls-remote", "ext::TOUCH"}},
	"protocol.ext.allow=never":       {setting("protocol.ext.allow", "always"), "", []string{"ls-remote", "ext::TOUCH"}},
	"protocol.file.allow=never":      {func(h *hostile) { h.config("remote.o.url", h.dir, "remote.o.uploadpack", h.touch) }, "", []string{"ls-remote", "o"}},
	"GIT_NO_LAZY_FETCH=1":            {(*hostile).promisor, "", []string{"cat-file", "-p", strings.Repeat("1", 40)}},
	"GIT_ALLOW_PROTOCOL=none":        {(*hostile).promisor, "", []string{"rev-list", "--objects", strings.Repeat("1", 40)}},
	"maintenance.auto=false":         {func(h *hostile) { h.tidy("maintenance.auto") }, "", []string{"maintenance", "run", "--auto"}},
	"gc.auto=0":                      {func(h *hostile) { h.tidy("gc.auto") }, "", []string{"gc", "--auto"}},
}

// alternate gives the repository another one's objects.
func (h *hostile) alternate() {
	write(h.t, h.dir+"/.git/objects/info/alternates", sample(h.t)+"/.git/objects\n")
}

// filter names an external filter outside the tree's own attributes.
func (h *hostile) filter() {
	write(h.t, h.dir+"/rules", "* filter=evil\n")
	write(h.t, h.dir+"/new", "new\n")
	h.config("filter.evil.clean", h.touch)
}

// promisor makes missing objects come from a remote that is a command.
func (h *hostile) promisor() {
	h.config("core.repositoryformatversion", "1", "extensions.partialClone", "o", "remote.o.promisor", "true",
		"remote.o.url", "ext::"+h.touch, "protocol.ext.allow", "always")
}

// tidy makes automatic tidying due; it runs a hook.
func (h *hostile) tidy(string) {
	_ = os.MkdirAll(h.dir+"/.git/hooks", 0o755)
	_ = os.Symlink(h.touch, h.dir+"/.git/hooks/pre-auto-gc")
	h.config("gc.auto", "1", "gc.autoDetach", "false")
	for i := range 600 {
		write(h.t, fmt.Sprintf("%s/.git/objects/17/%038x", h.dir, i), "")
	}
}

// quiet has an entry for each row that no command can be shown to run through
// here, and why it stands all the same; what it holds is tested by value.
var quiet = map[string]string{
	"core.untrackedCache=false":      "runs nothing; believes the index",
	"core.pager=cat":                 "a pager starts only on a terminal",
	"core.excludesFile=/dev/null":    "runs nothing; hides files",
	"core.commitGraph=false":         "runs nothing; hides history",
	"core.fsync=committed,reference": "runs nothing; loses what was said to be done",
	"log.showSignature=false":        "gpg.program is shown by other rows",
	"safe.bareRepository=explicit":   "every command names its git directory",
	"submodule.recurse=false":        "no command here enters submodules",
	"fastimport.unpackLimit=0":       "runs nothing; keeps one pack",
}

// TestGuardsHold goes through the table row by row: what a row is there to
// stop happens with plain git, and does not behind the table (C40 to C46).
func TestGuardsHold(t *testing.T) {
	for _, g := range guards {
		name := g.env + g.arg
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if g.why == "" {
				t.Error("the row does not say why")
			}
			a, runs := attacks[name]
			if !runs {
				if g.arg != "" && quiet[name] == "" {
					t.Fatal("the row has no attack, and no reason why there is none")
				}
				return // its value is tested below
			}
			h := newHostile(t)
			a.plant(h)
			command := make([]string, len(a.command))
			for i, word := range a.command {
				command[i] = strings.ReplaceAll(word, "TOUCH", h.touch)
			}
			_, _ = h.guarded(a.stdin, command...)
			if h.sang() {
				t.Error("the repository ran a program through the guarded git")
			}
			h.plain(a.stdin, command...)
			if !h.sang() {
				t.Error("plain git does not run it: the attack proves nothing")
			}
		})
	}
}

// A row that is deleted takes its test along; this one stays.
func TestNoRowIsMissing(t *testing.T) {
	rows := make(map[string]bool)
	for _, g := range guards {
		rows[g.env+g.arg] = true
	}
	for name := range attacks {
		if !rows[name] {
			t.Errorf("the table lacks %s", name)
		}
	}
	for name := range quiet {
		if !rows[name] {
			t.Errorf("the table lacks %s", name)
		}
	}
	for _, name := range []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1", "GIT_PROTOCOL_FROM_USER=0",
		"GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_GRAFT_FILE=/dev/null", "GIT_LITERAL_PATHSPECS=1", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "SSH_ASKPASS=true",
		"GIT_EDITOR=true", "GIT_PAGER=cat", "HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent"} {
		if !rows[name] {
			t.Errorf("the table lacks %s", name)
		}
	}
}

// Whatever the repository says, by itself or through an include, the table's
// value is the one that git believes.
func TestGuardsWinOverTheRepository(t *testing.T) {
	h := newHostile(t)
	included := h.dir + "/included"
	for _, g := range guards {
		if key, _, ok := strings.Cut(g.arg, "="); ok {
			plain(t, h.dir, "config", "-f", included, key, "hostile")
		}
	}
	h.config("include.path", included, "includeIf.gitdir:/.path", included)
	for _, g := range guards {
		key, value, ok := strings.Cut(g.arg, "=")
		if !ok {
			continue
		}
		if got, err := h.guarded("", "config", "--get", key); err != nil || strings.TrimSuffix(got, "\n") != value {
			t.Errorf("%s: git believes %q (%v)", g.arg, got, err)
		}
		if strings.HasPrefix(key, "safe.") {
			continue // git itself takes these from no repository
		}
		if got, _ := plainResult(h.dir, "config", "--get", key); got != "hostile\n" {
			t.Errorf("%s: plain git believes %q: the test proves nothing", key, got)
		}
	}
}

// The environment is the table's and nothing else: no GIT_ variable, nor any
// other, comes through from Carrel's own.
func TestEnvironmentIsTheTable(t *testing.T) {
	h := newHostile(t)
	for _, name := range []string{"GIT_DIR", "GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_SSH", "GIT_EXEC_PATH", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS",
		"GIT_TRACE", "GIT_TRACE2_EVENT", "GIT_TEMPLATE_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PROXY_COMMAND", "LD_PRELOAD_NOT", "SECRET", "EDITOR", "VISUAL", "PAGER"} {
		t.Setenv(name, h.touch)
	}
	out, err := execute(context.Background(), call{gitDir: h.dir + "/.git", command: []string{"-c", "alias.environment=!env", "environment"}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for row := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(row), "=")
		got[name] = value
	}
	for name, value := range got {
		if strings.Contains(value, h.touch) {
			t.Errorf("%s came through", name)
		}
	}
	for _, g := range guards {
		if name, value, ok := strings.Cut(g.env, "="); ok && got[name] != value {
			t.Errorf("%s is %q", g.env, got[name])
		}
	}
}

func TestUserAndSystemSettingsAreNotRead(t *testing.T) {
	h := newHostile(t)
	home := t.TempDir()
	write(t, home+"/.gitconfig", "[carrel]\n\tprobe = global\n")
	write(t, home+"/.config/git/config", "[carrel]\n\tprobe = xdg\n")
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home+"/.config")
	t.Setenv("GIT_CONFIG_SYSTEM", home+"/.gitconfig")
	if got, err := h.guarded("", "config", "--get-all", "carrel.probe"); err == nil {
		t.Errorf("git believes %q", got)
	}
	if out, err := exec.Command("git", "-C", h.dir, "config", "--get-all", "carrel.probe").Output(); err != nil || !strings.Contains(string(out), "global") {
		t.Errorf("plain git believes %q, %v: the test proves nothing", out, err)
	}
}

func TestLookingDoesNotWriteTheIndex(t *testing.T) {
	h := newHostile(t)
	index := func() os.FileInfo {
		info, err := os.Stat(h.dir + "/.git/index")
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	future := time.Now().Add(-time.Hour)
	for _, guard := range []bool{true, false} {
		if err := os.Chtimes(h.dir+"/README", future, future); err != nil {
			t.Fatal(err)
		}
		before := index()
		if guard {
			_, _ = h.guarded("", "status")
		} else {
			h.plain("", "status")
		}
		if same := os.SameFile(before, index()); same != guard {
			t.Errorf("guarded %t: the index is the same file: %t", guard, same)
		}
	}
}

// I170: replaced commits and grafts do not count, and names are no patterns.
func TestHistoryIsWhatItSays(t *testing.T) {
	h := newHostile(t)
	head := plain(t, h.dir, "rev-parse", "HEAD")
	other := plain(t, h.dir, "commit-tree", "-m", "forged", "HEAD^{tree}")
	plain(t, h.dir, "replace", head, other)
	if got, err := h.guarded("", "cat-file", "-p", head); err != nil || strings.Contains(got, "forged") {
		t.Errorf("replaced: %s %v", got, err)
	}
	if got := plain(t, h.dir, "cat-file", "-p", head); !strings.Contains(got, "forged") {
		t.Errorf("plain git does not replace: %s", got)
	}
	plain(t, h.dir, "replace", "-d", head)
	write(t, h.dir+"/.git/info/grafts", head+" "+other+"\n")
	if got, err := h.guarded("", "rev-list", head); err != nil || strings.Contains(got, other) {
		t.Errorf("grafted: %s %v", got, err)
	}
	if got := plain(t, h.dir, "rev-list", head); !strings.Contains(got, other) {
		t.Errorf("plain git does not graft: %s", got)
	}
	if got, _ := h.guarded("", "ls-files", "*"); got != "" {
		t.Errorf("a name was taken as a pattern: %s", got)
	}
	if got := plain(t, h.dir, "ls-files", "*"); got == "" {
		t.Error("plain git takes it as a name")
	}
}

func TestOnlyPlumbingRuns(t *testing.T) {
	r := open(t, sample(t))
	for _, command := range []string{"status", "log", "diff", "commit", "checkout", "fetch", "push", "gc", "submodule", "-c", "--exec-path=/tmp", "!sh"} {
		if _, err := r.output(context.Background(), command); err == nil {
			t.Errorf("git %s was run", command)
		}
	}
	for command := range plumbing {
		if strings.Contains("fetch push pull clone remote gc submodule daemon", command) {
			t.Errorf("%s is no plumbing", command)
		}
	}
}

// Everything the package does, on a repository that is hostile in every way
// at once: nothing runs, and what can work still works.
func TestHostileRepositoryRunsNothing(t *testing.T) {
	h := newHostile(t)
	write(t, h.dir+"/.gitattributes", "*.evil filter=evil diff=evil merge=evil\n")
	write(t, h.dir+"/.gitignore", "*.log\n")
	plain(t, h.dir, "add", ".")
	plain(t, h.dir, "commit", "-qm", "attributes")
	base := open(t, h.dir).Head
	for _, hook := range []string{"reference-transaction", "pre-commit", "post-commit", "post-index-change", "post-checkout", "update", "post-update", "pre-auto-gc", "fsmonitor-watchman", "commit-msg", "prepare-commit-msg"} {
		_ = os.MkdirAll(h.dir+"/.git/hooks", 0o755)
		_ = os.Symlink(h.touch, h.dir+"/.git/hooks/"+hook)
	}
	included := filepath.Dir(h.touch) + "/included"
	for _, key := range []string{"core.fsmonitor", "core.sshCommand", "core.editor", "core.pager", "core.askPass", "core.gitProxy", "core.alternateRefsCommand", "diff.external",
		"credential.helper", "gpg.program", "gpg.ssh.program", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.command", "diff.evil.textconv",
		"merge.evil.driver", "uploadpack.packObjectsHook", "alias.cat-file", "pager.ls-tree", "sequence.editor"} {
		value := h.touch
		if strings.HasPrefix(key, "alias") {
			value = "!" + h.touch
		}
		plain(t, h.dir, "config", "-f", included, key, value)
	}
	h.alternate()
	h.config("include.path", included, "user.name", "Maintainer", "user.email", "m@example.com", "commit.gpgSign", "true", "core.logAllRefUpdates", "always")
	h.promisor()

	ctx := context.Background()
	r := open(t, h.dir)
	_, env := home(t, "[user]\n\tname = Ada\n\temail = ada@example.com\n")
	who, err := r.Identity(ctx, env)
	if err != nil || who.Name != "Ada" {
		t.Fatal(who, err)
	}
	if b, err := r.ReadFile(ctx, base, "README"); err != nil || string(b) != "hello\n" {
		t.Errorf("reading: %q, %v", b, err)
	}
	if _, err := r.ReadBlob(ctx, strings.Repeat("1", 40)); err == nil {
		t.Error("a missing object was read")
	}
	d := draft(t, r, r.Head)
	if _, err := d.Attributes(ctx, []string{"x.evil"}); err != nil {
		t.Error(err)
	}
	if _, err := d.Ignored(ctx, []string{"x.log"}, nil); err != nil {
		t.Error(err)
	}
	c, err := d.Commit(ctx, []File{content("x.evil", ModeFile, "x")}, "m\n", who, time.Now())
	if err == nil {
		err = d.Publish(ctx, "work", c, who)
	}
	if err != nil {
		t.Error(err)
	}
	if h.sang() {
		t.Fatal("the repository ran a program on the host")
	}
	// The twin: the same steps with plain git.
	for _, command := range [][]string{{"status"}, {"update-ref", "refs/heads/x", base}, {"cat-file", "-p", strings.Repeat("1", 40)}, {"add", "."}} {
		h.plain("", command...)
		if !h.sang() {
			t.Errorf("plain git %v runs nothing: the test proves nothing", command)
		}
	}
}

// A git that hangs or floods is ended, with everything it started.
func TestGitIsBounded(t *testing.T) {
	bin := t.TempDir()
	fake := func(script string) {
		if err := os.WriteFile(bin+"/git", []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	marker := filepath.Join(bin, "alive")
	fake("(sleep 2; : > " + marker + ") & sleep 60")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := run(ctx, call{command: []string{"ls-tree"}}); err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	fake("exec cat /dev/zero")
	if _, err := run(context.Background(), call{command: []string{"ls-tree"}}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a flood: %v", err)
	}
	time.Sleep(2500 * time.Millisecond)
	if _, err := os.Lstat(marker); err == nil {
		t.Error("a child outlived the command")
	}
}
