package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/carrel-dev/carrel/internal/audit"
)

// maxFindings bounds the findings of a run that wait to be recorded: each
// stands for many refusals, which the log has anyway.
const maxFindings = 64

// findings keeps what was found odd in a run: on stderr, in its result, and in
// the log. The zero value only keeps.
type findings struct {
	tell func(Finding) // may be nil

	mu    sync.Mutex // guards what follows
	list  []Finding
	queue chan Finding // nil before start and after close
	done  chan error
}

// start records what is found from now on, on a goroutine of its own: whoever
// finds something must not wait for the log.
func (s *findings) start(v *visit, log *audit.Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue, done := make(chan Finding, maxFindings), make(chan error, 1)
	s.queue, s.done = queue, done
	go func() { // ends with close
		var err error
		for f := range queue {
			if err == nil {
				err = log.Enqueue(context.Background(), f.record(v.id))
			}
		}
		done <- err
	}()
}

func (s *findings) add(f Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) < maxFindings {
		s.list = append(s.list, f)
	}
	if s.queue != nil {
		select {
		case s.queue <- f:
		default:
		}
	}
	if s.tell != nil {
		s.tell(f)
	}
}

// close returns once everything found is handed to the log.
func (s *findings) close() error {
	s.mu.Lock()
	queue, done := s.queue, s.done
	s.queue = nil
	s.mu.Unlock()
	if queue == nil {
		return nil
	}
	close(queue)
	if err := <-done; err != nil {
		return fmt.Errorf("recording a finding: %w", err)
	}
	return nil
}

func (s *findings) all() []Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Finding(nil), s.list...)
}
