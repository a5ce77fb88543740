package native

import (
	"testing"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// Once the program runs, PID 1 may say two things, and end once.
func TestWordsOfAHostileDesk(t *testing.T) {
	for name, m := range map[string]desk.Message{
		"files":          {Kind: desk.Stopped, Files: []int{0}},
		"a new terminal": {Kind: desk.Terminal},
		"more sockets":   {Kind: desk.Networked},
		"ready again":    {Kind: desk.Ready},
		"begun again":    {Kind: desk.Begun},
		"an order":       {Kind: desk.Go},
		"nothing known":  {Kind: 99},
		"no end":         {Kind: desk.Ended, Code: 0x7f},
		"a tally":        {Kind: desk.Tallied, Text: "1"},
	} {
		d := newDesk(&sandbox.Spec{}, Identity{})
		if err := d.running(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	d := newDesk(&sandbox.Spec{}, Identity{})
	for _, m := range []desk.Message{{Kind: desk.Stopped}, {Kind: desk.Stopped}, {Kind: desk.Ended, Code: 3 << 8}} {
		if err := d.running(m); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	if err := d.running(desk.Message{Kind: desk.Ended}); err == nil {
		t.Error("the program ended twice")
	}
}

// Before it runs, nothing may come that was not asked for, nor twice.
func TestWordsBeforeTheProgram(t *testing.T) {
	for name, m := range map[string]desk.Message{
		"begun too early":      {Kind: desk.Begun},
		"a terminal unasked":   {Kind: desk.Terminal},
		"sockets unasked":      {Kind: desk.Networked},
		"a stop":               {Kind: desk.Stopped},
		"an end":               {Kind: desk.Ended},
		"the supervisor's own": {Kind: desk.Mounts},
	} {
		d := newDesk(&sandbox.Spec{}, Identity{})
		waiting := 1
		if err := d.hears(t.Context(), m, func(func() error) {}, &waiting); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	d := newDesk(&sandbox.Spec{}, Identity{})
	waiting := 1
	err := d.hears(t.Context(), desk.Message{Kind: desk.Failed, Code: 3, Text: "x"}, func(func() error) {}, &waiting)
	if s, ok := err.(*sandbox.StartError); !ok || s.Code != codeOwn {
		t.Errorf("%v", err)
	}
}
