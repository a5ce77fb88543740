package audit

import (
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// interruptTime counts from the start, also while the machine sleeps, and is
// read finer than the system's ticks. Windows 10 has it.
var interruptTime = windows.NewLazySystemDLL("kernelbase.dll").NewProc("QueryInterruptTimePrecise")

func bootMicros() int64 {
	if interruptTime.Find() != nil {
		return 0
	}
	var t uint64 // of 100 ns
	_, _, _ = interruptTime.Call(uintptr(unsafe.Pointer(&t)))
	return int64(t / 10)
}

// bootID names the time since the machine started by the second in which it
// did, for there is no name. Who sets the clock gives it another one: then the
// log is looked at as after a restart, which is slower and otherwise the same.
func bootID() string {
	return "started " + strconv.FormatInt(time.Now().Add(-windows.DurationSinceBoot()).Unix(), 10)
}
