//go:build linux

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/origin"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// WhyOptions are the flags of why.
type WhyOptions struct {
	Workspace string
	JSON      bool
}

// maxSource bounds the file of which a line is asked.
const maxSource = 16 << 20

// Why says where a line (FILE:LINE) or a commit comes from.
func (e *Engine) Why(ctx context.Context, what string, opts WhyOptions) error {
	var answer origin.Answer
	file, line, isLine := splitLine(what)
	f, err := e.finder(ctx, opts.Workspace, file, isLine)
	if err != nil {
		return err
	}
	if isLine {
		var content []byte
		var rel string
		if rel, content, err = e.source(f.Root, file); err == nil {
			answer, err = f.Line(ctx, rel, content, line)
		}
	} else if f.Repo == nil {
		return &hintError{fmt.Errorf("%s is no git repository, so that it has no commits", f.Root), "ask about a line: carrel why FILE:LINE"}
	} else if answer, err = f.Commit(ctx, what); errors.Is(err, fs.ErrNotExist) {
		err = &hintError{err, "ask about a line with FILE:LINE, or name a commit"}
	}
	if err != nil {
		return err
	}
	if p := answer.Publication; p != nil {
		if p.Attested, err = e.lastAttested(p.Change); err != nil {
			return err
		}
	}
	if opts.JSON {
		return e.printJSON(answer)
	}
	e.showOrigin(answer)
	return nil
}

// splitLine takes FILE:LINE apart.
func splitLine(what string) (file string, line int, ok bool) {
	i := strings.LastIndexByte(what, ':')
	if i <= 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(what[i+1:])
	return what[:i], n, err == nil
}

// finder looks in the workspace that is named, or that holds the file, or the
// current directory.
func (e *Engine) finder(ctx context.Context, dir, file string, isLine bool) (*origin.Finder, error) {
	if dir == "" && isLine {
		dir = filepath.Dir(e.absolute(file))
	}
	ws, err := e.workspaceAt(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &origin.Finder{
		Log: publications{e}, Repo: ws.Repository(), Root: ws.Root(),
		Load: func(p origin.Publication) (*carrel.Change, error) {
			return ws.LoadChange(workspace.ChangeEntry{ID: p.Change, Digest: p.Digest, Manifest: p.Manifest})
		},
		Content: func(d carrel.Digest) ([]byte, error) { return e.blobs.Read(d, maxSource) },
	}, nil
}

func (e *Engine) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(e.host.Cwd, path)
}

// source reads a file of the workspace and returns its path there.
func (e *Engine) source(root, file string) (rel string, content []byte, err error) {
	path := e.absolute(file)
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, filepath.Base(path))
	if rel, err = filepath.Rel(root, path); err != nil || !filepath.IsLocal(rel) {
		return "", nil, fmt.Errorf("%s is not in the workspace %s", file, root)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return rel, nil, &hintError{fmt.Errorf("%s is not in the working tree", file), "check out the branch that has it, or ask about a commit: carrel why BRANCH"}
	case err != nil:
		return rel, nil, err
	case !info.Mode().IsRegular():
		return rel, nil, fmt.Errorf("%s is no regular file", file)
	case info.Size() > maxSource:
		return rel, nil, fmt.Errorf("%s is larger than %d MiB", file, maxSource>>20)
	}
	content, err = readSource(path)
	return rel, content, err
}

// publications reads what was published from the log.
type publications struct{ e *Engine }

// Publications implements origin.Log.
func (p publications) Publications(ctx context.Context) ([]origin.Publication, error) {
	runs := map[carrel.RunID]*carrel.RunInfo{}
	manifests := map[carrel.ChangeID]carrel.Digest{}
	intents := map[carrel.ActionID]*carrel.Record{}
	var out []origin.Publication
	for entry, err := range audit.OpenReader(p.e.state("log")).From(ctx, 0) {
		if err != nil {
			return nil, fmt.Errorf("reading the log: %w", err)
		}
		switch r := entry.Record; r.Kind {
		case carrel.KindRunStart:
			runs[r.Run] = r.RunInfo
		case carrel.KindChange:
			manifests[r.Change.ID] = r.Change.Manifest
		case carrel.KindIntent:
			if r.Action != nil && r.Action.Publication != nil && r.Action.Operation == carrel.OpPublish {
				intents[r.Action.ID] = &r
			}
		case carrel.KindResult:
			if r.Action == nil || r.Outcome == nil || r.Outcome.Status != carrel.OutcomeDone || intents[r.Action.ID] == nil {
				continue
			}
			one := publication(intents[r.Action.ID], &r, runs)
			one.Record, one.Manifest = entry.Index, manifests[one.Change]
			out = append(out, one)
		}
	}
	return out, nil
}

func publication(intent, result *carrel.Record, runs map[carrel.RunID]*carrel.RunInfo) origin.Publication {
	what := intent.Action.Publication
	p := origin.Publication{
		Run: intent.Run, Change: what.Change, Digest: what.Digest, Target: what.Target, Time: result.Time,
		Action: intent.Action.ID, Decision: intent.Decision, Approval: intent.Approval,
		Branch: string(result.Outcome.Facts["branch"]), Commit: string(result.Outcome.Facts["commit"]),
	}
	if info := runs[p.Run]; info != nil {
		p.Agent, p.User, p.Workspace = info.Agent, info.User, info.Workspace
	}
	return p
}

// showOrigin prints an answer for people.
func (e *Engine) showOrigin(a origin.Answer) {
	out := e.host.Stdout
	row := func(name, format string, args ...any) {
		fmt.Fprintf(out, "  %-9s %s\n", name, terminal.Escape(fmt.Sprintf(format, args...)))
	}
	switch {
	case a.Path != "":
		fmt.Fprintf(out, "%s:%d  %s\n", terminal.Escape(a.Path), a.Line, terminal.Escape(string(a.Text)))
	default:
		fmt.Fprintf(out, "commit %s\n", a.Commit)
	}
	if a.Path != "" && a.Commit != "" {
		row("commit", "%s", a.Commit)
	} else if a.Path != "" {
		row("commit", "none: it is in the working tree only")
	}
	if !a.Agent {
		row("agent", "none: %s", a.Sure)
		if a.Claim != nil {
			row("claim", "%s, %s", a.Claim.Run, a.Claim.Change)
		}
		return
	}
	p := a.Publication
	if p.Agent == "" {
		row("run", "%s; by whom it was started is not shown by the log any more", p.Run)
	} else {
		row("run", "%s of %s, started by %s", p.Run, p.Agent, p.User)
	}
	row("change", "%s (%s), published to the %s%s at %s", p.Change, p.Digest.Short(), p.Target, branchWords(p.Branch), p.Time.UTC().Format(time.DateTime+" UTC"))
	if a.Matched > 0 {
		row("files", "%d of the %d that the commit changed", a.Matched, a.Changed)
	}
	row("action", "%s, record %d of the log", p.Action, p.Record)
	if a.File != nil {
		row("file", "%s: %s", a.File.Change, decisionWords(&a.File.Decision))
	}
	row("decision", "%s", decisionWords(p.Decision))
	if ok := p.Approval; ok != nil {
		row("approval", "by %s at %s: %s", ok.By, ok.Time.UTC().Format(time.DateTime+" UTC"), cmp.Or(string(ok.Reason), "no reason given"))
	} else {
		row("approval", "none was needed")
	}
	if p.Attested != "" {
		row("attested", "%s", p.Attested)
	}
	row("sure", "%s", a.Sure)
	fmt.Fprintf(out, "  next: carrel show %s, carrel log show %s\n", p.Run, p.Run)
}

func branchWords(branch string) string {
	if branch == "" {
		return ""
	}
	return " " + branch
}

func decisionWords(d *carrel.Decision) string {
	if d == nil {
		return "not recorded"
	}
	words := string(d.Verdict)
	if len(d.Rules) > 0 {
		words += " by " + strings.Join(d.Rules, ", ")
	}
	if d.Reason != "" {
		words += ": " + string(d.Reason)
	}
	return words
}
