package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// describeAction says what an action would do in one line that shows all of
// it: what a person cannot see they cannot approve.
func describeAction(a carrel.Action) string {
	s := string(a.Operation) + " " + target(a)
	if a.Path != "" && a.Operation == carrel.OpExec {
		s += " [" + a.Path + "]"
	}
	return terminal.Escape(s)
}

// answers opens the store of questions and answers; nil if nobody ever asked.
func (e *Records) answers() (*approval.Store, error) {
	if _, err := os.Stat(e.state("approvals")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	s, err := approval.Open(e.state("approvals"))
	if err != nil {
		return nil, err
	}
	s.By = e.host.User
	return s, nil
}

// questionLine is an open question for people.
func questionLine(q approval.OpenQuestion) string {
	s := fmt.Sprintf("%s  %s: %s", q.Action.ID, describeAction(q.Action), terminal.Escape(q.Decision.Reason))
	if rule := firstRule(q.Decision); rule != "" {
		s += " (" + terminal.Escape(rule) + ")"
	}
	if q.Count > 1 {
		s += fmt.Sprintf("  %d times", q.Count)
	}
	waits := "waits until"
	if !q.Held {
		waits = "can be answered until"
	}
	return fmt.Sprintf("%s  digest %s  %s %s  %s", s, q.Digest.Short(), waits, q.Until.Local().Format(time.TimeOnly), q.Action.Run)
}

// PendingActions lists the actions that wait for an answer.
func (e *Records) PendingActions(asJSON bool) error {
	s, err := e.answers()
	if s == nil || err != nil {
		return err
	}
	all, err := s.Questions()
	if err != nil {
		return err
	}
	for _, q := range all {
		if err := e.printQuestion(q, asJSON); err != nil {
			return err
		}
	}
	return nil
}

func (e *Records) printQuestion(q approval.OpenQuestion, asJSON bool) error {
	if asJSON {
		return e.printLine(q)
	}
	_, err := fmt.Fprintln(e.host.Stdout, questionLine(q))
	return err
}
