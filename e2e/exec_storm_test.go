//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// execRecord is what the log has of commands.
type execRecord struct {
	Kind    string
	Repeats int64
	Note    string
	Action  *struct {
		Operation string
		Argv      []string
	}
	RunInfo *struct{ Lost int64 } `json:"run_info"`
	Counts  map[string]int64
}

// execRecords reads the last run's records.
func (h *host) execRecords() (out []execRecord) {
	h.Helper()
	for line := range strings.Lines(h.must("log", "show", "--json").out) {
		var r execRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			h.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// holdLog keeps the log from being written, as a disk that hangs does, until
// the function that it returns is called.
func (h *host) holdLog() (release func()) {
	h.Helper()
	f, err := os.OpenFile(filepath.Join(h.dir, "state/carrel/log/lock"), os.O_RDWR, 0)
	if err != nil {
		h.Fatal(err)
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &whole); err != nil {
		h.Fatal(err)
	}
	return func() { f.Close() }
}

// A storm of commands on a log that takes nothing for a while: the commands
// wait, and not one of them is lost.
func TestCommandsWaitForTheLogAndNoneIsLost(t *testing.T) {
	h := asUser(t)
	const different, same = 1200, 300
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	// Each record has some kilobytes, so that the queue is soon full.
	script := fmt.Sprintf(`big=$(printf 'x%%.0s' $(seq 990)); printf 'ready\n'
i=0; while [ $i -lt %d ]; do /bin/true $i $big $big $big $big $big $big $big $big; i=$((i+1)); echo $i; done
i=0; while [ $i -lt %d ]; do /bin/false same; i=$((i+1)); done; echo end`, different, same)
	cmd := h.command(ctx, carrelBin, "run", "--result", h.dir+"/result.json", "--", "sh", "-c", script)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 2*different)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			lines <- in.Text()
		}
	}()
	for <-lines != "ready" {
	}
	release := h.holdLog()
	for waits := false; !waits; {
		select {
		case line := <-lines:
			if line == "end" {
				t.Fatal("the whole storm went by while the log took nothing")
			}
		case <-time.After(1500 * time.Millisecond):
			waits = true
		}
	}
	release()
	for range lines {
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	seen, repeats, ended := map[string]bool{}, int64(0), execRecord{}
	for _, r := range h.execRecords() {
		switch {
		case r.Kind == "run.end" || r.RunInfo != nil && r.Counts != nil:
			ended = r
		case r.Kind == "observation" && r.Action != nil && strings.HasSuffix(r.Action.Argv[0], "true"):
			seen[r.Action.Argv[1]] = true
		case r.Kind == "observation" && r.Action != nil && strings.HasSuffix(r.Action.Argv[0], "false"):
			if repeats += r.Repeats; r.Repeats == 0 {
				repeats++
			}
		}
	}
	if len(seen) != different || repeats != same {
		t.Errorf("of %d different commands %d are recorded, of %d that are the same %d", different, len(seen), same, repeats)
	}
	var result struct{ Commands map[string]int64 }
	if err := json.Unmarshal([]byte(h.read("result.json")), &result); err != nil {
		t.Fatal(err)
	}
	ran := result.Commands["executions"]
	if ran < different+same || ran > different+same+5 || ended.Counts["executions"] != ran || ended.RunInfo == nil || ended.RunInfo.Lost != 0 {
		t.Errorf("the result has %v, the log %v", result.Commands, ended)
	}
	h.expect(h.must("log", "verify"), 0)
}

// What cannot be read of a command is lost, and counted: in the log, in the
// result, and in what the log adds up to. Where commands are decided it is
// refused instead.
func TestWhatIsLostOfACommandIsCounted(t *testing.T) {
	h := asUser(t)
	// More arguments than are read, and nothing of them.
	const script = `/bin/true $(seq 5000); /bin/true $(seq 5001); /bin/true fine; echo code $?`
	r := h.inside(script, "--result", h.dir+"/result.json")
	h.expect(r, 0, "code 0")
	var result struct{ Commands map[string]int64 }
	if err := json.Unmarshal([]byte(h.read("result.json")), &result); err != nil {
		t.Fatal(err)
	}
	noted, lost := 0, int64(0)
	for _, r := range h.execRecords() {
		if strings.HasPrefix(r.Note, "not read whole: ") {
			noted++
		}
		if r.RunInfo != nil {
			lost += r.RunInfo.Lost
		}
	}
	if result.Commands["executions_unread"] != 2 || lost != 2 || noted != 2 {
		t.Errorf("of two the result counts %v, the log %d and notes %d", result.Commands, lost, noted)
	}
	h.expect(h.must("report", "--json"), 0, `"lost": 2`)
	r = h.inside(script, "--commands", "decide", "--result", h.dir+"/result.json")
	if !strings.Contains(r.err, "denied") || !strings.Contains(r.out, "code 0") {
		t.Errorf("what nobody saw whole was decided: %s", r)
	}
}
