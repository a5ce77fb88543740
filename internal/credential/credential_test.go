package credential

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

const canary = "sk-canary-4711"

var useIt = carrel.Action{Operation: carrel.OpCredential, Host: "api.test", Port: 443, Protocol: carrel.ProtoTLS}

// get uses s on the one road.
func get(s *Source, again bool) (v Value, err error) {
	g, _ := gatetest.AllowAll()
	_, err = g.Do(context.Background(), useIt, func(ctx context.Context, live gate.Grant) (carrel.Outcome, error) {
		v, err = s.Get(ctx, live, useIt, again)
		return carrel.Outcome{}, err
	})
	return v, err
}

func env(string) (string, bool) { return canary, true }

func TestGetKeepsTheContractOfEffects(t *testing.T) {
	reads := 0
	s := FromEnv("K", func(string) (string, bool) { reads++; return canary, true })
	gatetest.Contract(t, gatetest.Effect{Name: "Get", Action: useIt,
		Call: func(ctx context.Context, g gate.Grant) error {
			_, err := s.Get(ctx, g, useIt, false)
			return err
		},
		Happened: func() bool { return reads > 0 },
	})
}

func TestValueShowsNothing(t *testing.T) {
	v, err := get(FromEnv("K", env), false)
	if err != nil || v.Reveal() != canary {
		t.Fatalf("%v", err)
	}
	type holder struct {
		V  Value
		P  *Value
		in Value
	}
	h := holder{v, &v, v}
	out := fmt.Sprint(v, &v, h) + fmt.Sprintf("%v %+v %#v %s %q %x %X %d %10.3s %T", v, v, v, v, v, v, v, v, v, v)
	b, err := json.Marshal(map[string]any{"v": v, "h": h})
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), "canary"} {
		if strings.Contains(out+string(b), form) {
			t.Errorf("shown as %q in %s %s", form, out, b)
		}
	}
}

func TestUnexportedValueInAPrintedStructIsHidden(t *testing.T) {
	v, _ := get(FromEnv("K", env), false)
	s := struct{ key Value }{v}
	if out := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(out, "canary") {
		t.Errorf("shown: %s", out)
	}
}

func TestFileMustBePrivate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	write := func(mode os.FileMode) {
		os.WriteFile(path, []byte(canary+"\n"), 0o600)
		os.Chmod(path, mode)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660} {
		write(mode)
		if _, err := get(FromFile(path), false); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	write(0o600)
	if v, err := get(FromFile(path), false); err != nil || v.Reveal() != canary {
		t.Errorf("private file: %v", err)
	}
	if _, err := get(FromFile(path, dir), false); err == nil {
		t.Error("a key inside the workspace was used")
	}
	link := filepath.Join(t.TempDir(), "link")
	os.Symlink(path, link)
	if _, err := get(FromFile(link, dir), false); err == nil {
		t.Error("a key inside the workspace was used through a link")
	}
	if v, err := get(FromFile(path, t.TempDir()), false); err != nil || v.Reveal() != canary {
		t.Errorf("a file outside the workspace: %v", err)
	}
	for _, bad := range []string{dir, "key", "/dev/null", filepath.Join(dir, "none")} {
		if _, err := get(FromFile(bad), false); err == nil {
			t.Errorf("%s was read as a key", bad)
		}
	}
}

func TestCommandIsAskedAgainAfterARefusal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "n")
	s, err := FromCommand([]string{"/bin/sh", "-c", `echo x >> "$F"; echo "key-$(wc -l < "$F" | tr -d ' ')"`}, []string{"PATH=/usr/bin:/bin", "F=" + file})
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		again bool
		want  string
	}{{false, "key-1"}, {false, "key-1"}, {true, "key-2"}, {false, "key-2"}} {
		if v, err := get(s, step.again); err != nil || v.Reveal() != step.want {
			t.Errorf("step %d: %q, %v", i, v.Reveal(), err)
		}
	}
}

func TestCommandIsBounded(t *testing.T) {
	for name, script := range map[string]string{
		"endless output":   "while :; do echo 0123456789012345678901234567890123456789; done",
		"failure":          "echo " + canary + "; echo " + canary + " >&2; exit 3",
		"nothing":          "true",
		"two lines":        "printf 'a\\nb'",
		"header injection": "printf 'a\\r\\nX-Evil: 1'",
	} {
		s, _ := FromCommand([]string{"/bin/sh", "-c", script}, nil)
		start := time.Now()
		_, err := get(s, false)
		if err == nil || strings.Contains(err.Error(), "canary") || name == "endless output" && !strings.Contains(err.Error(), "printed more than") {
			t.Errorf("%s: error is %v", name, err)
		}
		if time.Since(start) > 10*time.Second {
			t.Errorf("%s took %s", name, time.Since(start))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := runHelper(ctx, []string{"/bin/sh", "-c", "sleep 60 & sleep 60"}, nil); err == nil {
		t.Error("a helper that hangs was waited for")
	}
	if _, err := FromCommand([]string{"helper"}, nil); err == nil {
		t.Error("a helper was searched on the PATH")
	}
}
