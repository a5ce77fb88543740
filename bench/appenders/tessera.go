package main

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// tesseraLog is a tiled log on a file system. An append is durable when the
// entry has its index.
type tesseraLog struct {
	appender *tessera.Appender
	shutdown func(context.Context) error
}

func openTessera(dir string, batch uint, age time.Duration) (appender, error) {
	ctx := context.Background()
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return nil, err
	}
	private, _, err := note.GenerateKey(rand.Reader, "example.com/bench")
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, err
	}
	opts := tessera.NewAppendOptions().WithCheckpointSigner(signer)
	if batch > 0 {
		opts = opts.WithBatching(batch, age)
	}
	a, shutdown, _, err := tessera.NewAppender(ctx, driver, opts)
	return &tesseraLog{a, shutdown}, err
}

func (l *tesseraLog) append(ctx context.Context, record []byte) error {
	_, err := l.appender.Add(ctx, tessera.NewEntry(record))()
	return err
}

func (l *tesseraLog) close() error { return l.shutdown(context.Background()) }
