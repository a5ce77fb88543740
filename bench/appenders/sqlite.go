package main

import (
	"context"
	"database/sql"
	"path/filepath"

	_ "modernc.org/sqlite"
)

// sqlite appends rows in groups: one transaction for all who wait, which is
// the best that one file and one writer can do.
type sqlite struct {
	db   *sql.DB
	rows chan row
	done chan error
}

type row struct {
	record []byte
	answer chan error
}

func openSQLite(dir string) (appender, error) {
	db, err := sql.Open("sqlite", filepath.Join(dir, "log.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE log (n INTEGER PRIMARY KEY, record BLOB)"); err != nil {
		return nil, err
	}
	s := &sqlite{db, make(chan row, 1024), make(chan error, 1)}
	go s.run()
	return s, nil
}

func (s *sqlite) run() {
	insert, err := s.db.Prepare("INSERT INTO log (record) VALUES (?)")
	if err != nil {
		s.done <- err
		return
	}
	for first := range s.rows {
		group := []row{first}
		for more := true; more; {
			select {
			case r, ok := <-s.rows:
				if more = ok; ok {
					group = append(group, r)
				}
			default:
				more = false
			}
		}
		err := s.commit(insert, group)
		for _, r := range group {
			r.answer <- err
		}
	}
	s.done <- nil
}

func (s *sqlite) commit(insert *sql.Stmt, group []row) error {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	in := tx.Stmt(insert)
	for _, r := range group {
		if _, err := in.Exec(r.record); err != nil {
			_ = tx.Rollback()
			return err
		}
	}
	return tx.Commit()
}

func (s *sqlite) append(_ context.Context, record []byte) error {
	r := row{record, make(chan error, 1)}
	s.rows <- r
	return <-r.answer
}

func (s *sqlite) close() error {
	close(s.rows)
	if err := <-s.done; err != nil {
		return err
	}
	return s.db.Close()
}
