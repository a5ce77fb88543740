package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Size is a number of bytes, written 512M, 4G or 1.5GiB (powers of 1024).
type Size int64

// ParseSize reads a size.
func ParseSize(s string) (Size, error) {
	number := strings.TrimRight(s, "KMGTiB")
	unit := strings.TrimSuffix(strings.TrimSuffix(s[len(number):], "B"), "i")
	shift := strings.Index(" KMGT", unit) * 10
	if unit == "" {
		shift = 0
	}
	f, err := strconv.ParseFloat(number, 64)
	bytes := f * float64(uint64(1)<<max(shift, 0))
	if err != nil || len(unit) > 1 || shift < 0 || !(bytes >= 1) || bytes > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is not a size (512M, 4G)", s)
	}
	return Size(bytes), nil
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *Size) UnmarshalYAML(n *yaml.Node) (err error) {
	if *s, err = ParseSize(n.Value); err != nil {
		err = lineError(n.Line, err.Error())
	}
	return err
}

// Duration is a length of time, written 30m or 1h30m.
type Duration time.Duration

// ParseDuration reads a duration, which must be positive.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a length of time (30m, 1h30m)", s)
	}
	return Duration(d), nil
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) (err error) {
	if *d, err = ParseDuration(n.Value); err != nil {
		err = lineError(n.Line, err.Error())
	}
	return err
}

// ParseLimits reads limits as the command line has them:
// memory=4G,pids=512,wall=30m,disk=2G. origin is where they were said.
func ParseLimits(s string, origin Origin) (Limits, error) {
	var l Limits
	for _, part := range strings.Split(s, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return Limits{}, fmt.Errorf("limit %q: want name=value", part)
		}
		if err := l.set(name, value, origin); err != nil {
			return Limits{}, fmt.Errorf("limit %s: %w", name, err)
		}
	}
	return l, nil
}

func (l *Limits) set(name, value string, origin Origin) (err error) {
	switch name {
	case "memory":
		l.Memory.Origin = origin
		l.Memory.Value, err = ParseSize(value)
	case "disk":
		l.Disk.Origin = origin
		l.Disk.Value, err = ParseSize(value)
	case "upload":
		l.Upload.Origin = origin
		l.Upload.Value, err = ParseSize(value)
	case "wall":
		l.Wall.Origin = origin
		l.Wall.Value, err = ParseDuration(value)
	case "pids":
		l.Pids.Origin = origin
		l.Pids.Value, err = strconv.ParseInt(value, 10, 32)
		if err != nil || l.Pids.Value < 1 {
			err = fmt.Errorf("%q is not a number of processes", value)
		}
	default:
		err = fmt.Errorf("not known%s", nearest(name, []string{"memory", "pids", "wall", "disk", "upload"}))
	}
	return err
}

// Lower returns the tighter of two sets of limits, value by value.
func (l Limits) Lower(m Limits) Limits {
	return Limits{
		Memory: lower(l.Memory, m.Memory), Pids: lower(l.Pids, m.Pids), Wall: lower(l.Wall, m.Wall), Disk: lower(l.Disk, m.Disk),
		Upload:     lower(l.Upload, m.Upload),
		BestEffort: first(l.BestEffort, m.BestEffort),
	}
}

func lower[T ~int64](a, b Value[T]) Value[T] {
	if !a.IsSet() || b.IsSet() && b.Value < a.Value {
		return b
	}
	return a
}

// first returns the first value that was said.
func first[T any](values ...Value[T]) Value[T] {
	for _, v := range values {
		if v.IsSet() {
			return v
		}
	}
	return Value[T]{}
}
