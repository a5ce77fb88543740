package evaluator

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// role is the name under which the program is started again.
const role = "carrel-policy"

// known says that this program asked for its role: one that does not, such as
// a test that forgot, would run its own main instead, without end.
var known atomic.Bool

// Inside reports whether this process is an evaluator. Every program that
// makes policy engines asks at the start of main, and if so calls Serve and
// returns.
func Inside() bool {
	known.Store(true)
	return filepath.Base(os.Args[0]) == role
}

// Serve answers messages from standard input on standard output, one at a
// time, until the supervisor is gone. It bounds the process first.
func Serve(answer func(message []byte) []byte) {
	if err := errors.Join(Bound(), noFiles()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUnbounded)
	}
	in := bufio.NewReader(os.Stdin)
	for {
		message, err := readFrame(in)
		if err != nil { // the supervisor is gone
			return
		}
		// One that is gone is noticed between two messages, so none may take for
		// ever, whatever the policy does.
		late := time.AfterFunc(maxAnswer, func() { os.Exit(exitLate) })
		err = writeFrame(os.Stdout, answer(message))
		late.Stop()
		if err != nil {
			return
		}
	}
}

// maxAnswer is longer than a supervisor waits for any answer.
const maxAnswer = 15 * time.Second

// Exit codes of an evaluator that ended by itself.
const (
	exitUnbounded = 97 // the bounds could not be set
	exitMemory    = 98 // a policy needed too much memory
	exitLate      = 99 // an answer took longer than anybody waits
)

// Bounds of the process. A policy of 1 MiB and its input take a few dozen MiB.
// The first is watched, so that going past it can be said; the second is the
// kernel's, for what grows between two looks.
const (
	maxHeap = 256 << 20
	maxData = 640 << 20
	look    = 5 * time.Millisecond
)

// Bound bounds the memory of this process for good: by the kernel where it
// can, and by watching everywhere. Verbs that evaluate policies themselves
// call it too.
func Bound() error { return bounded() }

var bounded = sync.OnceValue(func() error {
	debug.SetMemoryLimit(maxHeap * 3 / 4)
	if err := setLimits(); err != nil {
		return fmt.Errorf("bounding the evaluation of policies: %w", err)
	}
	go watch()
	return nil
})

// watch ends the process when its heap is too large: what is in use, not what
// the collector has yet to come to.
func watch() {
	for range time.Tick(look) {
		if heap() <= maxHeap {
			continue
		}
		if runtime.GC(); heap() > maxHeap {
			fmt.Fprintf(os.Stderr, "the policy needed more than %d MiB of memory\n", maxHeap>>20)
			os.Exit(exitMemory)
		}
	}
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
