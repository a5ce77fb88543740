package approval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/private"
)

// OpenQuestion is a question that waits for a person: kept in a file, so that it can
// be answered from another terminal.
type OpenQuestion struct {
	Action   carrel.Action   `json:"action"` // with its id, by which people name it
	Digest   carrel.Digest   `json:"digest"`
	Decision carrel.Decision `json:"decision"`
	Count    int64           `json:"count"` // identical asks that this one stands for
	Since    time.Time       `json:"since"` // UTC
	Until    time.Time       `json:"until"` // UTC; no answer by then is a no
	// Held says that the action waits. Else it was refused for now, and an
	// answer lets the next try through.
	Held bool `json:"held"`
}

// maxOpen bounds a question's file: an action and a decision.
const maxOpen = 64 << 10

func (s *Store) questions() string { return filepath.Join(s.dir, "questions") }

func (s *Store) questionFile(d carrel.Digest) string {
	return filepath.Join(s.questions(), d.Hex()+".json")
}

// note keeps q where others find it.
func (s *Store) note(q OpenQuestion) error {
	raw, err := carrel.Canonical(q)
	if err == nil {
		err = private.MakeDir(s.questions())
	}
	if err == nil {
		err = private.ReplaceSoon(s.questionFile(q.Digest), raw)
	}
	if err != nil {
		return fmt.Errorf("keeping a question: %w", err)
	}
	return nil
}

func (s *Store) forget(d carrel.Digest) { _ = os.Remove(s.questionFile(d)) } // a stale one ends by itself

// Questions lists what waits for an answer, oldest first. What nobody can
// answer any more is removed.
func (s *Store) Questions() ([]OpenQuestion, error) {
	entries, err := os.ReadDir(s.questions())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing questions: %w", err)
	}
	var out []OpenQuestion
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if _, err := carrel.ParseDigest("sha256:" + name); !ok || err != nil {
			continue
		}
		q, err := s.question(carrel.Digest("sha256:" + name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // answered meanwhile
		}
		if err != nil {
			return nil, err
		}
		if !s.now().Before(q.Until) {
			s.forget(q.Digest)
			continue
		}
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b OpenQuestion) int { return a.Since.Compare(b.Since) })
	return out, nil
}

// question reads one. Its digest is that of the action it shows, or it is no
// question: what a person sees is what the answer is bound to.
func (s *Store) question(d carrel.Digest) (q OpenQuestion, err error) {
	raw, err := private.Read(s.questionFile(d), maxOpen)
	if err != nil {
		return q, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return q, fmt.Errorf("reading question %s: %w", d.Short(), err)
	}
	if got, err := q.Action.Digest(); err != nil || !got.Equal(d) || q.Digest != d {
		return q, fmt.Errorf("question %s is about something else than its name says; remove %s", d.Short(), s.questionFile(d))
	}
	return q, nil
}

// ErrNoQuestion is returned by Find.
var ErrNoQuestion = errors.New("nothing of that name waits for an answer")

// Find returns the open question about the action with this id.
func (s *Store) Find(id carrel.ActionID) (OpenQuestion, error) {
	all, err := s.Questions()
	if err != nil {
		return OpenQuestion{}, err
	}
	for _, q := range all {
		if q.Action.ID == id {
			return q, nil
		}
	}
	return OpenQuestion{}, fmt.Errorf("%s: %w", id, ErrNoQuestion)
}
