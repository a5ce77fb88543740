package carrel

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIdentifiersSortByTime(t *testing.T) {
	var ids []string
	for range 5 {
		ids = append(ids, string(NewRunID()))
		time.Sleep(2 * time.Millisecond)
	}
	if !slices.IsSorted(ids) {
		t.Errorf("not in order: %q", ids)
	}
}

func TestIdentifiersAreUniqueAndValid(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id := string(NewActionID())
		if err := CheckID(id, "act_"); err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Fatalf("%s twice", id)
		}
		seen[id] = true
	}
	for prefix, id := range map[string]string{"run_": string(NewRunID()), "chg_": string(NewChangeID()), "dsk_": string(NewDeskID()), "rec_": string(NewRecordID())} {
		if err := CheckID(id, prefix); err != nil {
			t.Error(err)
		}
	}
}

// An identifier becomes a file name: nothing but its one spelling is taken.
func TestCheckIDRefusesEverythingElse(t *testing.T) {
	good := string(NewRunID())
	body := strings.TrimPrefix(good, "run_")
	for _, s := range []string{
		"", "run_", body, "act_" + body, "RUN_" + body, good + "0", good[:len(good)-1], strings.ToUpper(good),
		"run_../../../../etc/passwd00000", "run_" + body[:24] + "\n\n", "run_" + body[:23] + "\r\n\n", "\n" + good[1:],
		"run_" + body[:25] + "1", "run_" + body[:25] + "u", "run_" + body[:25] + "\x00", "run_" + body[:25] + "=",
	} {
		if err := CheckID(s, "run_"); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}
