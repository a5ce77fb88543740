//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
)

// screen is a program in a real terminal.
type screen struct {
	*host
	socket string
}

func (h *host) screen(args ...string) *screen {
	h.Helper()
	// Each has a server of its own: one that was just told to end may still answer.
	s := &screen{h, filepath.Join(h.dir, "tmux."+strconv.FormatInt(time.Now().UnixNano(), 36))}
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	script := h.write("screen.sh", strings.Join(quoted, " ")+"\necho \"exit=$?\"\nexec bash --norc\n")
	r := s.tmux("new-session", "-d", "-x", "120", "-y", "40", "bash "+script)
	if r.code != 0 {
		h.Fatalf("tmux: %s", r)
	}
	h.Cleanup(func() { s.tmux("kill-server") })
	return s
}

func (s *screen) tmux(args ...string) result {
	s.Helper()
	return s.start("", "tmux", append([]string{"-S", s.socket, "-f", "/dev/null"}, args...)...)
}

func (s *screen) keys(keys ...string) {
	s.Helper()
	for _, k := range keys {
		s.tmux("send-keys", k)
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *screen) text() string {
	s.Helper()
	return s.tmux("capture-pane", "-p", "-S", "-200").out
}

// await waits until the screen shows every word, or fails with what it shows.
func (s *screen) await(words ...string) {
	s.Helper()
	for deadline := time.Now().Add(longest / 2); ; time.Sleep(200 * time.Millisecond) {
		text, missing := s.text(), ""
		for _, w := range words {
			if !strings.Contains(text, w) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("the screen lacks %q:\n%s", missing, text)
		}
	}
}

func TestTerminalIsGivenBackAsItWas(t *testing.T) {
	needs.Tool(t, "tmux")
	asEachUser(t, func(h *host) {
		// The program sets the clipboard, asks the terminal what it is, and
		// leaves it in the alternate screen with mouse reports on.
		h.write("repo/evil.sh", `printf '\033]52;c;ZXZpbA==\007\033[c\033]11;?\007\033[6n\033P+q544e\033\\\033[?1049h\033[?1000h\033[?25l'; sleep 0.3; stty size; stty -echo raw; echo shown`)
		s := h.screen(carrelBin, "run", "--", "bash", "evil.sh")
		s.await("exit=0")
		s.keys("echo typed $((40+2))", "Enter")
		s.await("typed 42")
		if text := s.text(); strings.Contains(text, "^[[") || strings.Contains(text, ";rgb:") || strings.Contains(text, "command not found") {
			s.Errorf("answers of the terminal were typed into the shell:\n%s", text)
		}
		if r := s.tmux("show-buffer"); strings.Contains(r.out, "evil") {
			s.Error("the clipboard was set")
		}
		for _, flag := range []string{"#{alternate_on}", "#{mouse_any_flag}"} {
			if r := s.tmux("display-message", "-p", flag); strings.TrimSpace(r.out) != "0" {
				s.Errorf("%s is left at %s", flag, r.out)
			}
		}
	})
}

func TestTerminalInsideIsAProperOne(t *testing.T) {
	needs.Tool(t, "tmux")
	asEachUser(t, func(h *host) {
		s := h.screen(carrelBin, "run", "--", "bash", "--norc")
		s.await("bash-") // its prompt
		s.keys("tty; stty size; test -t 0 -a -t 1 -a -t 2 && echo all$((1+1))", "Enter")
		s.await("40 120", "all2", "/dev/pts/")
		s.keys("sleep 50", "Enter")
		time.Sleep(300 * time.Millisecond)
		s.keys("C-c")
		s.keys("echo after$((2+3))", "Enter")
		s.await("after5")
		s.keys("exit 9", "Enter")
		s.await("exit=9")
	})
}

func TestStopAndContinueFromTheTerminal(t *testing.T) {
	needs.Tool(t, "tmux")
	h := asUser(t)
	s := h.screen("bash", "--norc", "-i")
	// bash forks; a shell that starts programs by vfork cannot be stopped meanwhile.
	s.keys(carrelBin+" run -- bash -c 'echo sta''rted; sleep 3; echo ended'", "Enter")
	s.await("started")
	s.keys("C-z")
	s.keys("echo back$((3+4))", "Enter")
	s.await("back7")
	s.keys("fg", "Enter")
	s.await("\nended")
}

var shownDigest = regexp.MustCompile(`The digest is ([0-9a-f]{64})`)

// menu ends a run on a terminal with a change, answers the exit menu with
// apply and returns the digest that it asks for.
func (h *host) menu() (*screen, string) {
	h.Helper()
	s := h.screen(carrelBin, "run", "--", "bash", "-c", "echo made > made")
	s.await("[a]pply")
	s.keys("a", "Enter")
	s.await("type its first")
	found := shownDigest.FindStringSubmatch(strings.ReplaceAll(s.text(), "\n", ""))
	if found == nil {
		h.Fatalf("no digest is shown:\n%s", s.text())
	}
	return s, found[1]
}

func TestExitMenuAppliesWhatItShowed(t *testing.T) {
	needs.Tool(t, "tmux")
	asEachUser(t, func(h *host) {
		s, digest := h.menu()
		s.keys(digest[:4], "Enter")
		s.await("exit=0")
		if h.read("repo/made") != "made\n" {
			h.Error("not applied")
		}
	})
}

func TestExitMenuLeavesTheChangeForAWrongDigest(t *testing.T) {
	needs.Tool(t, "tmux")
	h := asUser(t)
	s, digest := h.menu()
	wrong := "0000"
	if digest[:4] == wrong {
		wrong = "1111"
	}
	s.keys(wrong, "Enter")
	s.awaitBelow("type its first", "[a]pply") // it asks again
	if h.exists("repo/made") {
		h.Errorf("applied for a wrong digest:\n%s", s.text())
	}
	h.must("review", "--stat", "--no-pager") // it is still there
}

// One letter throws nothing away.
func TestExitMenuAsksBeforeItDiscards(t *testing.T) {
	needs.Tool(t, "tmux")
	h := asUser(t)
	s := h.screen(carrelBin, "run", "--", "bash", "-c", "echo made > made")
	s.await("[d]iscard?")
	s.keys("d", "Enter")
	s.await("Throw away 1 file")
	s.keys("n", "Enter")
	s.awaitBelow("nothing was discarded", "[d]iscard?")
	h.must("review", "--stat", "--no-pager") // it is still there
	s.keys("d", "Enter")
	s.awaitBelow("nothing was discarded", "Throw away 1 file")
	s.keys("y", "Enter")
	s.await("discarded chg_", "exit=0")
}

// Ctrl-C at the menu, or at the question for the digest behind it, keeps the
// change and lets carrel end with the agent's exit code.
func TestExitMenuEndsWithCtrlC(t *testing.T) {
	needs.Tool(t, "tmux")
	h := asUser(t)
	for _, before := range [][]string{nil, {"a", "Enter"}} {
		s := h.screen(carrelBin, "run", "--", "bash", "-c", "echo made > made; exit 3")
		s.await("[a]pply")
		if len(before) > 0 {
			s.keys(before...)
			s.await("type its first")
		}
		s.keys("C-c")
		s.await("exit=3")
		s.tmux("kill-server")
		if h.exists("repo/made") {
			t.Error("applied")
		}
		h.must("review", "--stat", "--no-pager") // it is still there
	}
}

// The answer about a known agent's profile is kept, so only an answer counts: a
// slip of the finger is asked about again, and no answer starts nothing.
func TestQuestionAboutAProfileTakesOnlyAnAnswer(t *testing.T) {
	needs.Tool(t, "tmux")
	h := asUser(t)
	if err := os.Chmod(h.write("home/bin/claude", "#!/bin/sh\necho \"walls=$IS_SANDBOX.\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.env = append(h.env, "PATH="+filepath.Join(h.home, "bin")+":"+programs())
	for _, c := range []struct {
		answers []string
		shows   []string
		kept    string
	}{
		{[]string{"C-d"}, []string{"was not answered, so nothing was run", "exit=125"}, ""},
		{[]string{"C-c"}, []string{"exit=125"}, ""},
		{[]string{"ys", "Enter", "y", "Enter"}, []string{"[Y/n] ys", "remembered in", "walls=1.", "exit=0"}, "claude: claude"},
		{[]string{"nn", "Enter", "n", "Enter"}, []string{"[Y/n] nn", "remembered in", "walls=.", "exit=0"}, "claude: default"},
	} {
		s := h.screen(carrelBin, "run", "--", "claude")
		s.await("Use it, now and later? [Y/n]")
		s.keys(c.answers...)
		s.await(c.shows...)
		if h.exists("config/carrel/config.yaml") != (c.kept != "") {
			t.Errorf("after %q an answer is kept: %t", c.answers, c.kept == "")
		} else if c.kept != "" && !strings.Contains(h.read("config/carrel/config.yaml"), c.kept) {
			t.Errorf("after %q: %s", c.answers, h.read("config/carrel/config.yaml"))
		}
		s.tmux("kill-server")
		os.Remove(filepath.Join(h.dir, "config/carrel/config.yaml"))
	}
}

// What is said after a question that nobody answered begins a line of its own,
// and no answer is no.
func TestQuestionsBrokenOffEndTheirLine(t *testing.T) {
	needs.Tool(t, "tmux")
	h := asUser(t)
	h.must("run", "--", "sh", "-c", "echo made > made")
	for key, says := range map[string]string{"C-c": "\ncarrel: interrupted", "C-d": "\ncarrel: nothing was discarded"} {
		s := h.screen(carrelBin, "discard")
		s.await("[y/N]")
		s.keys(key)
		s.await(says, "exit=1")
		s.tmux("kill-server")
	}
	h.must("review", "--stat", "--no-pager") // it is still there
}
