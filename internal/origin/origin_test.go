package origin

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

func TestBefore(t *testing.T) {
	for _, c := range []struct {
		was, now string
		want     []int // for each line of now; 0: new
	}{
		{"a\nb\nc\n", "a\nb\nc\n", []int{1, 2, 3}},
		{"a\nb\nc\n", "a\nc\n", []int{1, 3}},
		{"a\nc\n", "a\nb\nc\n", []int{1, 0, 2}},
		{"", "a\nb\n", []int{0, 0}},
		{"a\nb\n", "x\ny\n", []int{0, 0}},
		{"a\nb", "a\nb\nc", []int{1, 2, 0}},
		{"a\r\nb\r\n", "a\nx\nb\n", []int{1, 0, 2}},
		{"1\n2\n3\n4\n5\n", "2\n3\nX\n5\n6\n", []int{2, 3, 0, 5, 0}},
	} {
		for i, want := range c.want {
			n, there := before([]byte(c.was), []byte(c.now), i+1)
			if there != (want > 0) || there && n != want {
				t.Errorf("%q → %q line %d: %d, %v; want %d", c.was, c.now, i+1, n, there, want)
			}
		}
	}
}

// A line that was there before has the same text there.
func FuzzBefore(f *testing.F) {
	f.Add("a\nb\n", "b\na\n", 1)
	f.Add("x\n\n\ny", "\n\nx\r\n", 2)
	f.Fuzz(func(t *testing.T, was, now string, line int) {
		text, err := nthLine([]byte(now), line)
		if err != nil {
			return
		}
		n, there := before([]byte(was), []byte(now), line)
		if !there {
			return
		}
		if old := lines([]byte(was)); n < 1 || n > len(old) || old[n-1] != text {
			t.Errorf("%q → %q line %d (%q): line %d of %q", was, now, line, text, n, old)
		}
	})
}

type published []Publication

func (p published) Publications(context.Context) ([]Publication, error) { return p, nil }

// shelf is a finder over contents in memory, outside git.
func shelf(contents ...string) (*Finder, map[carrel.Digest][]byte) {
	kept := map[carrel.Digest][]byte{}
	var all published
	changes := map[carrel.ChangeID]*carrel.Change{}
	for i := 1; i < len(contents); i++ {
		was, now := []byte(contents[i-1]), []byte(contents[i])
		kept[carrel.DigestBytes(was)], kept[carrel.DigestBytes(now)] = was, now
		id := carrel.ChangeID("chg_" + string(rune('0'+i)))
		all = append(all, Publication{Change: id, Workspace: "/w", Target: carrel.TargetTree})
		changes[id] = &carrel.Change{Files: []carrel.FileChange{{Path: "f", Change: carrel.Modified,
			FileState: carrel.FileState{Kind: carrel.FileRegular, Digest: carrel.DigestBytes(now)},
			Before:    carrel.FileState{Kind: carrel.FileRegular, Digest: carrel.DigestBytes(was)}}}}
	}
	return &Finder{Log: all, Root: "/w",
		Load: func(p Publication) (*carrel.Change, error) {
			if c := changes[p.Change]; c != nil {
				return c, nil
			}
			return nil, errors.New("not kept")
		},
		Content: func(d carrel.Digest) ([]byte, error) {
			if b, ok := kept[d]; ok {
				return b, nil
			}
			return nil, errors.New("not kept")
		},
	}, kept
}

// Through several changes of one file each line is the change's that brought
// it, and what was there before all of them is nobody's.
func TestLineGoesBackThroughChanges(t *testing.T) {
	versions := []string{"base\n", "base\none\n", "two\nbase\none\n", "two\nbase\none\nthree\n"}
	for line, want := range map[int]carrel.ChangeID{1: "chg_2", 2: "", 3: "chg_1", 4: "chg_3"} {
		f, _ := shelf(versions...)
		a, err := f.Line(context.Background(), "f", []byte(versions[3]), line)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && !a.Agent && a.How == Unknown {
			continue
		}
		if !a.Agent || a.How != ByContent || a.Publication.Change != want {
			t.Errorf("line %d: %+v", line, a)
		}
	}
}

// What is not kept is not guessed at.
func TestLineWithoutItsContents(t *testing.T) {
	f, kept := shelf("base\n", "base\none\n")
	delete(kept, carrel.DigestBytes([]byte("base\n")))
	if a, err := f.Line(context.Background(), "f", []byte("base\none\n"), 1); err != nil || a.Agent {
		t.Errorf("%+v, %v", a, err)
	}
	f, _ = shelf("base\n", "base\none\n")
	f.Load = func(Publication) (*carrel.Change, error) { return nil, errors.New("pruned") }
	if a, err := f.Line(context.Background(), "f", []byte("base\none\n"), 2); err != nil || a.Agent || a.Lost != 1 || !strings.Contains(a.Sure, "no longer kept") {
		t.Errorf("%+v, %v", a, err)
	}
}

// Text alone is called what it is; empty lines and other files are nobody's.
func TestLineByText(t *testing.T) {
	for now, want := range map[string]How{"mine\none\n": ByText, "mine\nother\n": Unknown, "mine\n\n": Unknown, "x\nbase\n": Unknown} {
		f, _ := shelf("base\n", "base\n\none\n")
		if a, err := f.Line(context.Background(), "f", []byte(now), 2); err != nil || a.How != want || a.Agent != (want != Unknown) {
			t.Errorf("%q: %+v, %v", now, a, err)
		}
		f, _ = shelf("base\n", "base\n\none\n")
		if a, err := f.Line(context.Background(), "g", []byte(now), 2); err != nil || a.Agent {
			t.Errorf("another file: %+v, %v", a, err)
		}
	}
}

func TestNoSuchLine(t *testing.T) {
	f, _ := shelf()
	for _, content := range [][]byte{nil, []byte("a\n"), []byte("a"), {0, '\n', 'x'}} {
		for _, line := range []int{-1, 0, 2} {
			if _, err := f.Line(context.Background(), "f", content, line); !errors.Is(err, ErrNoLine) {
				t.Errorf("%q line %d: %v", content, line, err)
			}
		}
	}
	if _, err := f.Line(context.Background(), "f", bytes.Repeat([]byte("x"), 10), 1); err != nil {
		t.Error(err)
	}
}
