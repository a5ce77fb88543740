package engine

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace/fileaction"
	"github.com/carrel-dev/carrel/internal/workspace/risk"
)

// CheckChangeOptions say which change is judged, and how it is told.
type CheckChangeOptions struct {
	PolicyOptions
	Dir   string // in the repository; "": the current directory
	Base  string // a commit; "": what is staged, against HEAD
	Head  string // with Base: the commit that is judged; "": HEAD
	Index string // another index, as git names it to its hooks
	Agent string // the agent that policies see
	Asks  string // AsksFail, or AsksPass
	SARIF bool
	JSON  bool
}

// What an ask means where nobody can be asked.
const (
	AsksFail = "fail"
	AsksPass = "pass"
)

// CheckedChange is what policy says of a change.
type CheckedChange struct {
	Base     string         `json:"base"`
	Head     string         `json:"head"` // a commit, or "index"
	Policy   carrel.Digest  `json:"policy"`
	Risk     carrel.Risk    `json:"risk"`
	Verdict  carrel.Verdict `json:"verdict"` // the severest
	Files    []CheckedFile  `json:"files"`
	Verdicts map[string]int `json:"verdicts"`
}

// CheckedFile is one file of it.
type CheckedFile struct {
	Path     carrel.Text       `json:"path"`
	Change   carrel.Alteration `json:"change"`
	Labels   []carrel.Label    `json:"labels"`
	Decision carrel.Decision   `json:"decision"`
}

// maxChecked bounds a change that is judged, and what is looked at of one file.
const (
	maxChecked  = 20_000
	checkedHead = 256 << 10
)

// CheckChange judges a change of the repository as if an agent had made it,
// file by file, by the policy that decides at a desk. It runs nothing and
// records nothing: a hook and CI may not have a log.
func CheckChange(ctx context.Context, host Host, opts CheckChangeOptions) (*CheckedChange, error) {
	if opts.Dir == "" {
		opts.Dir = host.Cwd
	}
	repo, err := git.Open(ctx, opts.Dir)
	if err != nil {
		return nil, err
	}
	c := &CheckedChange{Head: "index", Verdict: carrel.Allow, Files: []CheckedFile{}, Verdicts: map[string]int{}}
	differences, err := c.find(ctx, repo, opts)
	if err != nil {
		return nil, err
	}
	if len(differences) > maxChecked {
		return nil, fmt.Errorf("the change has %d files, more than the %d that are judged", len(differences), maxChecked)
	}
	files, err := fileChanges(ctx, repo, differences)
	if err != nil {
		return nil, err
	}
	engine, err := OpenPolicy(ctx, host, opts.PolicyOptions)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	c.judge(ctx, engine, files, opts.Agent)
	return c, c.tell(host.Stdout, opts)
}

// find lists the files of the change.
func (c *CheckedChange) find(ctx context.Context, repo *git.Repo, opts CheckChangeOptions) ([]git.Difference, error) {
	if opts.Base == "" {
		c.Base = repo.Head
		return repo.Staged(ctx, repo.Head, opts.Index)
	}
	if opts.Head == "" {
		opts.Head = "HEAD"
	}
	base, err := repo.Resolve(ctx, opts.Base)
	if err == nil {
		c.Head, err = repo.Resolve(ctx, opts.Head)
	}
	if err == nil {
		c.Base, err = repo.MergeBase(ctx, base, c.Head)
	}
	if err != nil {
		return nil, &hintError{err, "in CI, fetch the whole history (fetch-depth: 0) so that the base is there"}
	}
	return repo.Between(ctx, c.Base, c.Head)
}

// fileChanges turns differences into what a desk would find, with the labels
// that review shows.
func fileChanges(ctx context.Context, repo *git.Repo, differences []git.Difference) ([]carrel.FileChange, error) {
	contents := map[string]*seenContent{}
	for _, d := range differences {
		for _, e := range []git.Entry{d.Before, d.Now} {
			if e.Mode != "" && e.Mode != git.ModeSubmodule {
				contents[e.Object] = nil
			}
		}
	}
	err := repo.ReadBlobs(ctx, slices.Sorted(maps.Keys(contents)), func(object string, content []byte) {
		head := content[:min(len(content), checkedHead)]
		contents[object] = &seenContent{
			head: risk.Head{Bytes: slices.Clone(head), Whole: len(head) == len(content)},
			size: int64(len(content)), digest: carrel.DigestBytes(content),
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]carrel.FileChange, 0, len(differences))
	paths := make([]carrel.Text, 0, len(differences))
	for _, d := range differences {
		now, nowHead := contents[d.Now.Object].state(d.Now)
		was, wasHead := contents[d.Before.Object].state(d.Before)
		f := carrel.FileChange{Path: carrel.Text(d.Path), Change: alteration(was, now), FileState: now, Before: was}
		f.Labels = risk.Assess(risk.File{FileChange: f, Now: nowHead, Was: wasHead})
		out, paths = append(out, f), append(paths, f.Path)
	}
	for i, label := range risk.Collisions(paths) {
		out[i].Labels = append(out[i].Labels, label)
	}
	return out, nil
}

// seenContent is what is kept of a content.
type seenContent struct {
	head   risk.Head
	size   int64
	digest carrel.Digest
}

// state is one side of a difference. A submodule is a directory that somebody
// else fills.
func (s *seenContent) state(e git.Entry) (carrel.FileState, risk.Head) {
	mode, _ := strconv.ParseUint(e.Mode, 8, 32)
	switch {
	case e.Mode == "":
		return carrel.FileState{Kind: carrel.FileNone}, risk.Head{}
	case e.Mode == git.ModeSubmodule || s == nil:
		return carrel.FileState{Kind: carrel.FileDir, Mode: 0o755}, risk.Head{}
	case e.Mode == git.ModeLink:
		return carrel.FileState{Kind: carrel.FileLink, Mode: 0o777, Size: s.size, Digest: s.digest, Target: carrel.Text(s.head.Bytes)}, risk.Head{}
	}
	return carrel.FileState{Kind: carrel.FileRegular, Mode: uint32(mode) & 0o777, Size: s.size, Digest: s.digest}, s.head
}

func alteration(was, now carrel.FileState) carrel.Alteration {
	switch {
	case was.Kind == carrel.FileNone:
		return carrel.Created
	case now.Kind == carrel.FileNone:
		return carrel.Deleted
	case was.Kind != now.Kind:
		return carrel.TypeChanged
	case was.Digest == now.Digest && was.Mode != now.Mode:
		return carrel.ModeChanged
	}
	return carrel.Modified
}

// judge decides every file and keeps what was not plainly allowed, or carries
// a label.
func (c *CheckedChange) judge(ctx context.Context, engine *policy.Engine, files []carrel.FileChange, agent string) {
	c.Policy, c.Risk = engine.Digest(), risk.Sum(files)
	for _, f := range files {
		a := fileaction.Of("", f)
		a.Agent = agent
		d := engine.Decide(ctx, a)
		if d.Verdict != carrel.Allow && d.Verdict != carrel.Ask {
			d.Verdict = carrel.Deny
		}
		c.Verdicts[string(d.Verdict)]++
		if d.Verdict == carrel.Deny || c.Verdict == carrel.Allow {
			c.Verdict = d.Verdict
		}
		if d.Verdict == carrel.Allow {
			d = carrel.Decision{Verdict: carrel.Allow}
		}
		c.Files = append(c.Files, CheckedFile{f.Path, f.Change, append([]carrel.Label{}, f.Labels...), d})
	}
}

// Passes reports whether the change may go on, and its verdict.
func (c *CheckedChange) Passes(asks string) (pass bool, verdict carrel.Verdict) {
	return c.Verdict == carrel.Allow || c.Verdict == carrel.Ask && asks == AsksPass, c.Verdict
}

func (c *CheckedChange) tell(w io.Writer, opts CheckChangeOptions) error {
	switch {
	case opts.SARIF:
		return encodeJSON(w, c.sarif())
	case opts.JSON:
		return encodeJSON(w, c)
	}
	return c.print(w)
}

func (c *CheckedChange) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range c.Files {
		if f.Decision.Verdict == carrel.Allow {
			continue
		}
		rule := firstRule(f.Decision)
		fmt.Fprintf(table, "%s\t%s %s\t%s\t%s\n", f.Decision.Verdict, f.Change, terminal.Escape(string(f.Path)), terminal.Escape(rule), terminal.Escape(f.Decision.Reason))
		for _, next := range f.Decision.NextSteps {
			fmt.Fprintf(table, "\t\t\tnext: %s\n", terminal.Escape(next))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %d allowed, %d to be looked at, %d denied; risk %s; policy %s\n", countFiles(len(c.Files)),
		c.Verdicts["allow"], c.Verdicts["ask"], c.Verdicts["deny"], c.Risk.Level, c.Policy.Short())
	return err
}
