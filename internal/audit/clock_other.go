//go:build !linux && !darwin && !windows

package audit

func bootMicros() int64 { return 0 }

// bootID is unknown: every opening is treated as the first after a restart.
func bootID() string { return "" }
