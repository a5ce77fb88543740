//go:build linux

// Package selftest attacks the walls on the user's own machine and says what
// held: it builds a stage, has a real desk built for an agent that carries out
// every attack of package attack, and looks afterwards from outside. It owns
// the stage and is trusted with nothing else: no file, process or server that
// it did not make is touched, and a probe that gets through only opens.
package selftest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/internal/sandbox/attack"
)

// Options are what the caller knows.
type Options struct {
	Self    string   // this program
	Via     []string // arguments that lead it to attack.Main
	Inside  string   // where the workspace is inside; "": where it is outside
	Home    string   // where the desk's home is inside
	Notices string   // where the notices are inside
	Door    bool     // the desk has a door: names are answered, and services given
	// Desk runs a command at a desk for the stage, with the limit of processes
	// that it names, and returns when it has ended.
	Desk func(ctx context.Context, s *Stage, command []string, stdout *os.File) error
}

// Row is one attack and how it went.
type Row struct {
	Name      string `json:"name"`
	Group     string `json:"group"`
	Tries     string `json:"tries"`
	Held      bool   `json:"held"`
	How       string `json:"how"`
	TwinTries string `json:"twin_tries"`
	Twin      bool   `json:"twin"`
	TwinHow   string `json:"twin_how,omitempty"`
}

// Report is what a self-test found. Rows are in the order of the table.
type Report struct {
	Rows   []Row `json:"attacks"`
	Held   int   `json:"held"`
	Failed int   `json:"failed"` // attacks that got through, and twins that do not work
	TookMS int64 `json:"took_ms"`
}

// Limit is what the desk must be limited to, as --limit takes it: an attack
// that hangs ends with the desk.
func (s *Stage) Limit() string { return fmt.Sprintf("pids=%d,wall=50s", Pids) }

// Allow is the name that the desk must be allowed, as --allow takes it.
func (s *Stage) Allow() string { return allowedName + ":443" }

// Hide is the file of the workspace that the desk must not see, as --hide takes it.
func (s *Stage) Hide() string { return hiddenName }

// Run is the self-test. An error means that it could not be made; attacks that
// got through are in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	began := time.Now()
	s, err := newStage(o)
	if err != nil {
		return Report{}, err
	}
	defer s.close()
	r, w, err := os.Pipe()
	if err != nil {
		return Report{}, err
	}
	results := make(chan map[string]attack.Result, 1)
	go func() { results <- read(r) }()
	command := append([]string{s.Program}, attack.Command(o.Via, filepath.Join(s.told.Workspace, stageName))...)
	err = o.Desk(ctx, s, command, w)
	err = errors.Join(err, w.Close())
	got := <-results
	r.Close()
	if err != nil && len(got) == 0 {
		return Report{}, fmt.Errorf("building a desk to attack: %w", err)
	}
	report := Report{Rows: s.rows(got)}
	for _, row := range report.Rows {
		if row.Held {
			report.Held++
		}
		if !row.Held || !row.Twin {
			report.Failed++
		}
	}
	report.TookMS = time.Since(began).Milliseconds()
	return report, nil
}

// maxSaid bounds what is read of the desk: it may be in an attacker's hand.
const maxSaid = 4 << 20

// read collects what the attacks said of themselves.
func read(r io.Reader) map[string]attack.Result {
	got := map[string]attack.Result{}
	in := bufio.NewScanner(io.LimitReader(r, maxSaid))
	in.Buffer(nil, 1<<16)
	for in.Scan() {
		var one attack.Result
		if json.Unmarshal(in.Bytes(), &one) == nil && one.Name != "" {
			got[one.Name] = one
		}
	}
	_, _ = io.Copy(io.Discard, r)
	return got
}

// rows joins the table, what was said inside and what is seen outside. An
// attack that nothing is known of did not hold.
func (s *Stage) rows(got map[string]attack.Result) []Row {
	var rows []Row
	for _, a := range attack.For(&s.told) {
		row := Row{Name: a.Name, Group: a.Group, Tries: a.Tries, TwinTries: a.TwinTries, How: "nothing is known of it: the attacks ended early"}
		if r, ok := got[a.Name]; ok {
			row.Held, row.How, row.Twin, row.TwinHow = r.Held, r.How, r.Twin, r.TwinHow
		}
		rows = append(rows, row)
	}
	return append(rows, s.outside()...)
}

// outside looks at the stage when the run is over.
func (s *Stage) outside() []Row {
	row := func(name, tries, twin string, held bool, how string, twinWorks bool) Row {
		return Row{Name: "outside:" + name, Group: "seen outside", Tries: tries, Held: held, How: how, TwinTries: twin, Twin: twinWorks}
	}
	others, wanted := s.others.Load(), s.wanted.Load()
	left := processesWith(s.told.Mark)
	changed := s.changed()
	return []Row{
		row("servers", "reach a server that was not given", "reach the one that was", others == 0, fmt.Sprintf("%d connections came, and %d to the one that was given", others, wanted), wanted > 0 || s.told.Service == ""),
		row("processes", "leave a process behind", "start one", left == 0, fmt.Sprintf("%d processes are left", left), true),
		row("canaries", "change a file of the host", "change the staged copy", len(changed) == 0, "changed: "+strings.Join(append(changed, "none")[:max(1, len(changed))], ", "), true),
	}
}

// changed names files of the stage that are not as they were made.
func (s *Stage) changed() (names []string) {
	for name, text := range s.texts() {
		if b, err := os.ReadFile(filepath.Join(s.dir, name)); err != nil || string(b) != text {
			names = append(names, name)
		}
	}
	entries, _ := os.ReadDir(s.Workspace)
	for _, e := range entries {
		if n := e.Name(); n != hiddenName && n != "README.md" && n != "link" && n != stageName {
			names = append(names, "work/"+n)
		}
	}
	return names
}

// processesWith counts the machine's processes that have a word among their
// arguments, but for this one.
func processesWith(word string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), word) {
			n++
		}
	}
	return n
}
