// Command appenders measures how fast other programs append durably, for the
// benchmark of Carrel's log. It is a module of its own, so that what it
// measures is no dependency of Carrel. It is trusted with nothing.
//
//	appenders PEER WRITERS SECONDS DIR
//
// It prints one line of JSON: appends per second, and the median and 99th
// percentile of how long one took, in milliseconds.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// recordSize is about what a record of Carrel has.
const recordSize = 500

// appender is a store that appends one record durably. It is safe for
// concurrent use.
type appender interface {
	append(ctx context.Context, record []byte) error
	close() error
}

var peers = map[string]func(dir string, writers int) (appender, error){
	"sqlite":          func(dir string, _ int) (appender, error) { return openSQLite(dir) },
	"postgresql":      openPostgres,
	"tessera default": func(dir string, _ int) (appender, error) { return openTessera(dir, 0, 0) },
	"tessera tuned":   func(dir string, _ int) (appender, error) { return openTessera(dir, 64, 5*time.Millisecond) },
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "appenders:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: appenders PEER WRITERS SECONDS DIR")
	}
	open, ok := peers[args[0]]
	writers, err := strconv.Atoi(args[1])
	seconds, err2 := strconv.ParseFloat(args[2], 64)
	if !ok || err != nil || err2 != nil {
		return fmt.Errorf("no peer %q, or no number in %q", args[0], args)
	}
	a, err := open(args[3], writers)
	if err != nil {
		return err
	}
	took, rate, err := measure(a, writers, time.Duration(seconds*float64(time.Second)))
	if err != nil {
		return err
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{"rate": rate, "p50": at(0.5), "p99": at(0.99)})
}

// measure lets writers append until the time is up.
func measure(a appender, writers int, length time.Duration) ([]time.Duration, float64, error) {
	ctx := context.Background()
	all := make([][]time.Duration, writers)
	errs := make([]error, writers)
	start := time.Now()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			record := make([]byte, recordSize)
			for i := 0; time.Since(start) < length; i++ {
				copy(record, fmt.Sprintf("writer %d record %d ", w, i))
				began := time.Now()
				if errs[w] = a.append(ctx, slices.Clone(record)); errs[w] != nil {
					return
				}
				all[w] = append(all[w], time.Since(began))
			}
		})
	}
	wg.Wait()
	passed := time.Since(start)
	for _, err := range append(errs, a.close()) {
		if err != nil {
			return nil, 0, err
		}
	}
	took := slices.Concat(all...)
	return took, float64(len(took)) / passed.Seconds(), nil
}
