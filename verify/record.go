package verify

import (
	"errors"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel"
)

// MaxRecord is the size in bytes that a stored record can have. It keeps every
// record far below the 65,535 bytes of an entry in a tiled log; what is larger
// belongs into the content store, and its digest into the record.
const MaxRecord = 32 << 10

// Record decodes one stored record. It accepts exactly the canonical encoding
// of a record that a log would write: an unknown member, another order,
// another spelling of a number, a string or a time is an error.
func Record(line []byte) (carrel.Record, error) {
	var r carrel.Record
	if len(line) > MaxRecord {
		return r, fmt.Errorf("record of %d bytes is over the limit of %d", len(line), MaxRecord)
	}
	if err := carrel.Decode(line, &r); err != nil {
		return carrel.Record{}, fmt.Errorf("record: %w", err)
	}
	if err := CheckRecord(&r); err != nil {
		return carrel.Record{}, err
	}
	return r, nil
}

// CheckRecord reports what makes a record, taken by itself, no record of
// version 1. The log refuses to write what CheckRecord refuses.
func CheckRecord(r *carrel.Record) error {
	if r.Version != carrel.RecordVersion {
		return fmt.Errorf("record version %d is not %d; check it with the release that wrote it", r.Version, carrel.RecordVersion)
	}
	if err := carrel.CheckID(string(r.ID), "rec_"); err != nil {
		return fmt.Errorf("record id: %w", err)
	}
	if r.Time.IsZero() || r.Time.Location() != time.UTC {
		return fmt.Errorf("record time %v is not in UTC", r.Time)
	}
	if r.Boot < 0 || r.RunSeq < 0 || r.Repeats < 0 {
		return errors.New("record with a negative boot time, sequence or repeat count")
	}
	if r.Run != "" {
		if err := carrel.CheckID(string(r.Run), "run_"); err != nil {
			return fmt.Errorf("record run: %w", err)
		}
	} else if r.RunSeq != 0 {
		return errors.New("record with a run sequence and no run")
	}
	return checkKind(r)
}

// checkKind checks the members that a kind of record cannot be read without.
func checkKind(r *carrel.Record) error {
	missing := func(member string) error { return fmt.Errorf("%s record without %s", r.Kind, member) }
	switch r.Kind {
	case carrel.KindRunStart, carrel.KindRunEnd:
		if r.Run == "" {
			return missing("run")
		}
		if r.RunInfo == nil {
			return missing("run_info")
		}
	case carrel.KindIntent, carrel.KindResult:
		if r.Action == nil || r.Action.ID == "" {
			return missing("action.id")
		}
		if r.ActionDigest == "" {
			return missing("action_digest")
		}
		if r.Kind == carrel.KindResult && r.Outcome == nil {
			return missing("outcome")
		}
	case carrel.KindRefused:
		if r.Action == nil || r.ActionDigest == "" || r.Decision == nil {
			return missing("action, action_digest or decision")
		}
	case carrel.KindApproval:
		if r.Approval == nil {
			return missing("approval")
		}
	case carrel.KindChange:
		if r.Change == nil {
			return missing("change")
		}
	case carrel.KindObservation, carrel.KindLog:
	default:
		return fmt.Errorf("unknown kind of record %q", r.Kind)
	}
	return nil
}
