//go:build unix

package place

func organisation() string { return "/etc/carrel" }
