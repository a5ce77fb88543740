//go:build !linux

package audit

import "time"

func sleepExactly(d time.Duration) { time.Sleep(d) }
