package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/policies"
)

// PolicyCheckOptions are the flags of `policy check` and `policy test`.
type PolicyCheckOptions struct {
	Path        string
	Entry       string
	JSON        bool
	MinCoverage float64 // test: percent
}

func (o PolicyCheckOptions) layer() (policy.Layer, error) {
	l, err := policy.FromPath("user", policy.User, o.Path)
	l.Entry = o.Entry
	return l, err
}

// ErrPolicyWeak is what the checks of a policy found.
var ErrPolicyWeak = errors.New("the policy does not do what it seems to")

// PolicyCheck prints what a policy's text and its answers give away. It
// returns ErrPolicyWeak for errors, and for holes that the floor leaves open.
func PolicyCheck(ctx context.Context, host Host, opts PolicyCheckOptions) error {
	l, err := opts.layer()
	if err != nil {
		return err
	}
	progress := terminal.NewProgress(host.Stderr)
	report, err := policy.Check(ctx, l, func(done, total int64) { progress.Show("trying the rules " + terminal.Bar(done, total)) })
	progress.Done()
	if err != nil {
		return err
	}
	if opts.JSON {
		err = encodeJSON(host.Stdout, report)
	} else {
		err = printReport(host.Stdout, report)
	}
	for _, f := range report.Findings {
		if f.Severity == policy.Fault || f.Severity == policy.Hole && !f.Caught() {
			return errors.Join(err, ErrPolicyWeak)
		}
	}
	return err
}

func printReport(w io.Writer, r policy.Report) error {
	var b strings.Builder
	for _, f := range r.Files {
		fmt.Fprintf(&b, "%s: Rego %s\n", f.Name, f.Version)
	}
	fmt.Fprintf(&b, "asked: %s, about %v\n", strings.Join(r.Packages, ", "), r.Governs)
	for _, f := range r.Findings {
		where := ""
		if f.File != "" {
			where = fmt.Sprintf("%s:%d: ", f.File, f.Line)
		}
		fmt.Fprintf(&b, "%s%s (%s): %s\n", where, f.Severity, f.Check, f.Message)
		if f.Example != nil {
			fmt.Fprintf(&b, "    for example %s\n    this policy: %s; with the built-in floor: %s\n", f.Example, f.Layer, f.Whole)
		}
	}
	if len(r.Findings) == 0 {
		b.WriteString("nothing to say against it\n")
	}
	_, err := io.WriteString(w, terminal.EscapeText(b.String()))
	return err
}

// ErrTestsFailed is what PolicyTest returns if a test fails, or too little is
// covered.
var ErrTestsFailed = errors.New("tests failed")

// PolicyTest runs a policy's tests and prints what they found.
func PolicyTest(host Host, opts PolicyCheckOptions) error {
	if !(opts.MinCoverage >= 0 && opts.MinCoverage <= 100) {
		return &UsageError{Err: fmt.Errorf("--min-coverage %v: it is a number of percent, 0 to 100", opts.MinCoverage)}
	}
	l, err := opts.layer()
	if err != nil {
		return err
	}
	report, err := policy.Test(l, opts.Path)
	if err != nil {
		return err
	}
	if opts.JSON {
		err = encodeJSON(host.Stdout, report)
	} else {
		err = printTests(host.Stdout, report)
	}
	switch {
	case err != nil:
		return err
	case report.Failed > 0:
		return fmt.Errorf("%d of %s: %w", report.Failed, plural(report.Passed+report.Failed, "test"), ErrTestsFailed)
	case report.Coverage < opts.MinCoverage:
		return fmt.Errorf("%.1f%% of the policy is covered, fewer than %.1f%%: %w", report.Coverage, opts.MinCoverage, ErrTestsFailed)
	}
	return nil
}

func printTests(w io.Writer, r policy.TestReport) error {
	var b strings.Builder
	for _, t := range r.Tests {
		if !t.Pass {
			where := t.File
			if t.Line > 0 {
				where = fmt.Sprintf("%s:%d", t.File, t.Line)
			}
			fmt.Fprintf(&b, "FAIL %s: %s: %s\n", where, t.Name, t.Error)
		}
	}
	for _, f := range r.Files {
		fmt.Fprintf(&b, "%s: %.1f%% covered", f.Name, f.Coverage)
		if len(f.Missing) > 0 {
			fmt.Fprintf(&b, ", no test looks at line %s", strings.Trim(fmt.Sprint(f.Missing), "[]"))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%d passed, %d failed, %.1f%% covered\n", r.Passed, r.Failed, r.Coverage)
	_, err := io.WriteString(w, terminal.EscapeText(b.String()))
	return err
}

// PolicyInit writes a policy to start from, and its tests, into a directory
// that has none.
func PolicyInit(host Host, dir string) error {
	if there, _ := filepath.Glob(filepath.Join(dir, "*.rego")); len(there) > 0 { // two policies would be read as one
		return &hintError{fmt.Errorf("%s exists: %s holds a policy already", there[0], dir), "name another directory"}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	files, err := fs.ReadDir(policies.Start, "start")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := policies.Start.ReadFile("start/" + f.Name())
		if err != nil {
			return err
		}
		if err := writeOnce(filepath.Join(dir, f.Name()), text); err != nil {
			return err
		}
		fmt.Fprintln(host.Stdout, terminal.Escape(filepath.Join(dir, f.Name())))
	}
	return nil
}

// writeOnce writes a file that must not be there yet.
func writeOnce(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return &hintError{fmt.Errorf("%s exists already", path), "name another directory: nothing is overwritten"}
	}
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
