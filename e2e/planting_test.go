//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Git on the host executes what a repository says. Each row is one way; the
// script runs in the repository on the host before Carrel comes, as if the
// repository had arrived like that. $RAN is a file that must never appear.
var hostileRepositories = map[string]string{
	"fsmonitor":            `git config core.fsmonitor "touch $RAN; false"`,
	"hooksPath":            `mkdir h; for k in pre-commit post-commit post-checkout reference-transaction post-index-change prepare-commit-msg commit-msg; do printf '#!/bin/sh\ntouch $RAN\n' > h/$k; chmod +x h/$k; done; git config core.hooksPath $PWD/h`,
	"hooks":                `for k in pre-commit post-commit post-checkout reference-transaction post-index-change prepare-commit-msg commit-msg pre-auto-gc; do printf "#!/bin/sh\ntouch $RAN\n" > .git/hooks/$k; chmod +x .git/hooks/$k; done`,
	"sshCommand":           `git config core.sshCommand "touch $RAN"; git remote add origin ssh://evil.test/x`,
	"editor":               `git config core.editor "touch $RAN"; git config sequence.editor "touch $RAN"`,
	"pager":                `git config core.pager "touch $RAN; cat"; git config pager.diff "touch $RAN; cat"; git config pager.log "touch $RAN; cat"`,
	"gitProxy":             `git config core.gitProxy "touch $RAN"`,
	"alternateRefs":        `git config core.alternateRefsCommand "touch $RAN"`,
	"external diff":        `git config diff.external "touch $RAN"; git config diff.x.textconv "touch $RAN; cat"; echo '* diff=x' > .git/info/attributes`,
	"filter":               `git config filter.x.clean "touch $RAN; cat"; git config filter.x.smudge "touch $RAN; cat"; git config filter.x.process "touch $RAN"; echo '*.txt filter=x' > .git/info/attributes`,
	"merge driver":         `git config merge.x.driver "touch $RAN"; echo '* merge=x' > .git/info/attributes`,
	"gpg program":          `git config commit.gpgSign true; git config gpg.program "$PWD/gpg.sh"; printf "#!/bin/sh\ntouch $RAN\n" > gpg.sh; chmod +x gpg.sh`,
	"credential helper":    `git config credential.helper "!touch $RAN"`,
	"include":              `printf '[core]\n\tfsmonitor = touch %s; false\n' $RAN > more; git config include.path $PWD/more`,
	"includeIf":            `printf '[core]\n\tfsmonitor = touch %s; false\n' $RAN > more; git config includeIf.gitdir:/.path $PWD/more`,
	"promisor remote":      `git config core.repositoryFormatVersion 1; git config extensions.partialClone origin; git config remote.origin.promisor true; git config remote.origin.url "ext::sh -c touch% $RAN"; git config protocol.ext.allow always`,
	"insteadOf":            `git config "url.ext::sh -c touch% $RAN.insteadOf" https://; git config protocol.ext.allow always; git remote add origin https://evil.test/x`,
	"alias":                `git config alias.status "!touch $RAN"; git config alias.diff "!touch $RAN"`,
	"worktree config":      `git config extensions.worktreeConfig true; printf '[core]\n\tfsmonitor = touch %s; false\n' $RAN > .git/config.worktree`,
	"trailer command":      `git config trailer.x.command "touch $RAN"; git config trailer.x.key X`,
	"bare repository":      `git init -q --bare bare; git -C bare config core.fsmonitor "touch $RAN"`,
	"template directory":   `mkdir -p tpl/hooks; printf "#!/bin/sh\ntouch $RAN\n" > tpl/hooks/post-commit; chmod +x tpl/hooks/post-commit; git config init.templateDir $PWD/tpl`,
	"ask password":         `git config core.askPass "touch $RAN"`,
	"submodule update":     `git config submodule.x.update "!touch $RAN"; git config submodule.recurse true`,
	"remote upload pack":   `git remote add origin $PWD; git config remote.origin.uploadpack "touch $RAN"`,
	"attributes elsewhere": `git config core.attributesFile $PWD/attrs; echo '* filter=x' > attrs; git config filter.x.clean "touch $RAN; cat"`,
}

func TestHostileRepositoryRunsNothingOnTheHost(t *testing.T) {
	for name, script := range hostileRepositories {
		t.Run(name, func(t *testing.T) {
			h := asUser(t)
			ran := filepath.Join(h.dir, "ran")
			h.env = append(h.env, "RAN="+ran)
			if r := h.start("", "bash", "-c", script); r.code != 0 {
				h.Fatalf("preparing: %s", r)
			}
			_ = os.Remove(ran)
			h.expect(h.inside("echo x > made.txt; echo y >> main.sh; git status --short >/dev/null; rm -f "+ran), 0)
			h.must("review", "--no-pager")
			h.must("approve", "--reason", "test")
			h.carrel("apply", "--branch", "made") // refused for a filter, with the reason
			h.carrel("discard", "--yes")
			if _, err := os.Lstat(ran); err == nil {
				h.Error("the host ran what the repository says")
			}
		})
	}
}

// The twin: the same road on a plain repository makes the branch.
func TestPlainRepositoryMakesTheBranch(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("echo x > made.txt; echo y >> main.sh"), 0)
		h.approveAndApply("--branch", "made")
		if got := h.git("diff", "--name-only", "main", "made"); got != "made.txt\nmain.sh" && got != "main.sh\nmade.txt" {
			h.Errorf("the branch has %q", got)
		}
		if got := h.git("status", "--porcelain"); got != "" {
			h.Errorf("the working tree was touched: %s", got)
		}
	})
}

func TestTerminalEscapesAreShownNotObeyed(t *testing.T) {
	asEachUser(t, func(h *host) {
		script := `touch $'a\e]52;c;ZXZpbA==\a' $'b\e[2J\e[1;1H' $'c\r-safe' $'d\u202etxt.exe' $'e\u200b' $'f\nnewline'; printf 'line \e]0;title\a \e[31m\u202e x\n' > text.txt`
		h.expect(h.inside(script), 0)
		for _, args := range [][]string{{"review", "--no-pager"}, {"review", "--json"}, {"show"}, {"show", "--json"}, {"runs"}, {"log", "show"}, {"log", "show", "--json"}} {
			r := h.carrel(args...)
			if r.code != 0 {
				h.Errorf("carrel %v: %s", args, r)
			}
			for _, bad := range []string{"\x1b]", "\x1b[2J", "\a", "\r-safe", "\u202e", "\u200b"} {
				if strings.Contains(r.out+r.err, bad) {
					h.Errorf("carrel %v printed %q as it is", args, bad)
				}
			}
		}
	})
}

func TestRepositoryCannotGrantItselfAnything(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.write("repo/.carrel/config.yaml", "egress: [{host: evil.test}]\n")
		h.git("add", "-A")
		h.git("commit", "-q", "-m", "config")
		r := h.probe("resolve", "evil.test")
		h.expect(r, 1, "trust")
		if !h.refusedRecord("resolve", "evil.test") {
			h.Error("the refusal is not recorded")
		}
	})
}

func TestPolicyWrittenByTheAgentHasNoEffect(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("mkdir .carrel; echo 'egress: [{host: evil.test}]' > .carrel/config.yaml; "+probeBin+" resolve evil.test"), 1)
		h.expect(h.probe("resolve", "evil.test"), 1) // nor in the next run, which resumes
	})
}
