//go:build linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"github.com/carrel-dev/carrel/internal/place"
	"io"
	"os"
	"text/tabwriter"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
	"github.com/carrel-dev/carrel/internal/selftest"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// SelfTestOptions are the flags of selftest.
type SelfTestOptions struct {
	Tier    string
	JSON    bool
	NoColor bool
	Via     []string // arguments that lead this program to attack.Main
}

// SelfTest attacks a desk that is built on a stage of its own, prints what
// held, and reports whether everything did. Nothing of the user's own is used:
// home, state and configuration are the stage's, but for the organisation's
// configuration, which holds for every desk of this machine.
func SelfTest(ctx context.Context, host Host, opts SelfTestOptions) (bool, error) {
	if opts.Tier != "" && opts.Tier != native.Name {
		return false, misused("--tier %q: the only tier is %s", opts.Tier, native.Name)
	}
	var said bytes.Buffer
	report, err := selftest.Run(ctx, selftest.Options{
		Self: host.Self, Via: opts.Via, Inside: view.Workspace, Home: view.HomePath(view.Host{}), Notices: view.NoticesPath, Door: true,
		Desk: func(ctx context.Context, s *selftest.Stage, command []string, stdout *os.File) error {
			return deskToAttack(ctx, host, s, command, stdout, &said)
		},
	})
	if err != nil {
		return false, err
	}
	e := &Records{host}
	if opts.JSON {
		err = e.printJSON(struct {
			Version string `json:"version"`
			Tier    string `json:"tier"`
			User    int    `json:"user"`
			selftest.Report
		}{host.Version, native.Name, host.UID, report})
	} else {
		err = e.printSelfTest(report, opts, said.String())
	}
	return report.Failed == 0, err
}

// deskToAttack runs a command as `carrel run` does, for the user that the
// stage invents.
func deskToAttack(ctx context.Context, host Host, s *selftest.Stage, command []string, stdout *os.File, said io.Writer) (err error) {
	path, _ := host.lookup("PATH")
	inner := host
	inner.Home, inner.Cwd, inner.Environ = s.Home, s.Workspace, []string{"PATH=" + path, "HOME=" + s.Home}
	if inner.Paths, err = place.Default(s.Home, func(string) string { return "" }); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		_, _ = io.Copy(said, r)
	}()
	null, err := os.Open(os.DevNull)
	if err != nil {
		w.Close()
		return err
	}
	defer null.Close()
	inner.Stdin, inner.Stdout, inner.Stderr = null, stdout, w
	err = runOnce(ctx, inner, RunOptions{
		Command: command, Workspace: s.Workspace, RO: []string{s.ReadOnly}, Hide: []string{s.Hide()}, Allow: []string{s.Allow()},
		Services: []string{s.Service}, Limit: s.Limit(), NoColor: true,
	})
	w.Close()
	<-heard
	return err
}

func runOnce(ctx context.Context, host Host, opts RunOptions) error {
	e, err := Open(ctx, host)
	if err != nil {
		return err
	}
	code, err := e.Run(ctx, opts)
	if err == nil && code != 0 {
		err = fmt.Errorf("the attacks ended with code %d", code)
	}
	return errors.Join(err, e.Close())
}

// verdicts of a row.
const (
	rowHeld   = "held"
	rowFailed = "FAILED"
)

func (e *Records) printSelfTest(report selftest.Report, opts SelfTestOptions, said string) error {
	color := terminal.Colors(e.host.Stdout, opts.NoColor)
	paint := func(verdict string) string {
		if !color {
			return verdict
		}
		level := carrel.Enforced
		if verdict == rowFailed {
			level = carrel.NotEnforced
		}
		return levelColors[level] + verdict + "\x1b[0m"
	}
	table := tabwriter.NewWriter(e.host.Stdout, 0, 0, 2, ' ', 0)
	group := ""
	for _, row := range report.Rows {
		if row.Group != group {
			group = row.Group
			fmt.Fprintf(table, "%s\n", group)
		}
		verdict := rowHeld
		if !row.Held {
			verdict = rowFailed
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", paint(verdict), terminal.Escape(row.Tries), terminal.Escape(row.How))
		if !row.Twin {
			fmt.Fprintf(table, "  %s\t%s\tmust work: %s\n", paint(rowFailed), terminal.Escape(row.TwinTries), terminal.Escape(row.TwinHow))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if report.Failed > 0 && said != "" {
		fmt.Fprintf(e.host.Stdout, "the desk said:\n%s", terminal.EscapeText(said))
	}
	verdict := "every wall held, and what must work works"
	if report.Failed > 0 {
		verdict = fmt.Sprintf("%d failed: do not rely on desks of this machine; carrel doctor says what it lacks", report.Failed)
	}
	_, err := fmt.Fprintf(e.host.Stdout, "%d attacks, each with its twin, in %.1f s: %s\n", len(report.Rows), float64(report.TookMS)/1000, verdict)
	return err
}
