package engine

import (
	"slices"
	"strings"
	"time"
)

// Durations is a histogram of how long actions took, from the intent to the
// result.
type Durations struct {
	Buckets []int64 `json:"buckets"` // by durationBounds, the last one is the rest
	Sum     int64   `json:"sum_us"`
}

// durationBounds are the upper bounds of the buckets.
var durationBounds = []time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Minute, time.Hour,
}

func (d *Durations) add(took time.Duration) {
	if d.Buckets == nil {
		d.Buckets = make([]int64, len(durationBounds)+1)
	}
	i, _ := slices.BinarySearch(durationBounds, took)
	d.Buckets[i]++
	d.Sum += took.Microseconds()
}

func (d Durations) count() (n int64) {
	for _, c := range d.Buckets {
		n += c
	}
	return n
}

// quantile is the upper bound of the bucket that holds it, as text.
func (d Durations) quantile(q float64) string {
	left := int64(q * float64(d.count()))
	for i, c := range d.Buckets {
		if left -= c; left < 0 {
			if i == len(durationBounds) {
				return "> " + short(durationBounds[i-1])
			}
			return "≤ " + short(durationBounds[i])
		}
	}
	return ""
}

// short writes 5m0s as 5m.
func short(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if rest, ok := strings.CutSuffix(s, zero); ok {
			s = rest + zero[:1]
		}
	}
	return s
}
