package desk

import (
	"reflect"
	"testing"
)

func samplePlan() *Plan {
	return &Plan{
		Mounts: []Mount{
			{Kind: Overlay, Target: "/workspace", Lower: "/a:b,c\\d\xff", Upper: "/u", Work: "/w", Writable: true},
			{Kind: File, Target: "/etc/x", Content: "\x00\xff", Mode: 0o400, Optional: true, NoExec: true, Size: 7},
		},
		Program: "/bin/true", Args: []string{"true", ""}, Env: []string{"A=\xfe"}, Dir: "/", Host: "h",
		Pty: true, Watched: true, Handed: true, Pids: 9, TmpSize: 1 << 40,
	}
}

func TestPlanSurvivesTheTransfer(t *testing.T) {
	p := samplePlan()
	got, err := DecodePlan(p.Encode())
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, p)
	}
}

// Every field must be in the encoding: a forgotten one would be a wall less.
func TestPlanEncodesEveryField(t *testing.T) {
	for _, v := range []reflect.Value{reflect.ValueOf(samplePlan()).Elem(), reflect.ValueOf(&samplePlan().Mounts[1]).Elem()} {
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			switch name {
			case "Source", "Lower", "Upper", "Work", "Writable":
				continue // set in the first mount of the sample
			}
			if v.Field(i).IsZero() {
				t.Errorf("the sample leaves %s out", name)
			}
		}
	}
}

func FuzzDecodePlan(f *testing.F) {
	f.Add(samplePlan().Encode())
	f.Add([]byte{})
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 127})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePlan(b)
		if err != nil {
			return
		}
		if again, err := DecodePlan(p.Encode()); err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%+v, %v", again, err)
		}
	})
}
