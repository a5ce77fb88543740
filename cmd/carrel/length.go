package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"
)

// length is the value of a flag that says how long. Less than least means
// nothing, and taking it for the default would answer a question that nobody
// asked: an approval for no time is not one for a day.
type length struct {
	value *time.Duration
	least time.Duration
}

// lengthFlag adds a flag for more than no time at all.
func lengthFlag(f *pflag.FlagSet, value *time.Duration, name string, unless time.Duration, usage string) {
	*value = unless
	f.Var(length{value, 1}, name, usage)
}

// ageFlag adds a flag for a time that may be none.
func ageFlag(f *pflag.FlagSet, value *time.Duration, name string, unless time.Duration, usage string) {
	*value = unless
	f.Var(length{value, 0}, name, usage)
}

// Set reads what was typed.
func (l length) Set(s string) error {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return errors.New("write a length of time, as in 90s, 30m or 24h")
	case d < 0:
		return errors.New("there is no time below 0")
	case d < l.least:
		return errors.New("it must be longer than 0")
	}
	*l.value = d
	return nil
}

// String is the default as help shows it; "" for none.
func (l length) String() string {
	if l.value == nil || *l.value == 0 {
		return ""
	}
	return l.value.String()
}

// Type is what help calls the value.
func (l length) Type() string { return "duration" }
