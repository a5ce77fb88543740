package native

import (
	"testing"
	"time"
)

// Processes that crowd the machine slow down whoever looks at their memory:
// that must not make it look away. Waiting for a disk counts.
func TestAttackCrowdedMachineIsWatchedAsOften(t *testing.T) {
	slow := func() time.Duration {
		time.Sleep(50 * time.Millisecond) // as if others had the processor
		return watchLeast
	}
	if pause := paced(threadTime, slow); pause >= share*50*time.Millisecond/2 {
		t.Errorf("memory is looked at again after %v", pause)
	}
	if pause := paced(sinceBoot, slow); pause < share*50*time.Millisecond {
		t.Errorf("a disk is looked at again after %v", pause)
	}
	busy := func() time.Duration {
		for began := threadTime(); threadTime()-began < 5*time.Millisecond; {
		}
		return watchLeast
	}
	if pause := paced(threadTime, busy); pause < share*5*time.Millisecond {
		t.Errorf("looking takes more than its share: again after %v", pause)
	}
}
