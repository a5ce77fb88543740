package terminal

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// through filters s in one piece and byte by byte: where a program cuts its
// output must make no difference.
func through(t testing.TB, s string, queries bool) (string, []string) {
	t.Helper()
	var dropped []string
	whole := Filter{Queries: queries, Dropped: func(kind string) { dropped = append(dropped, kind) }}
	out := string(whole.Append(nil, []byte(s)))
	pieces := Filter{Queries: queries}
	var cut []byte
	for i := range len(s) {
		cut = pieces.Append(cut, []byte{s[i]})
	}
	if string(cut) != out {
		t.Fatalf("%q gives %q in one piece and %q in many", s, out, cut)
	}
	return out, dropped
}

func TestWhatProgramsDrawPasses(t *testing.T) {
	for _, s := range []string{
		"plain text\r\n\ttab\b \a",
		"漢字 é 😀 \u200d",
		"\x1b[31;1mred\x1b[0m", "\x1b[38;2;1;2;3m", "\x1b[38:2::1:2:3m", "\x1b[4:3m", "\x1b[m",
		"\x1b[2J\x1b[H\x1b[10;20H\x1b[K\x1b[3J", "\x1b[?25l\x1b[?25h", "\x1b[1;24r", "\x1b[5A\x1b[;5H",
		"\x1b[?1049h\x1b[?1049l", "\x1b[?1000;1006h\x1b[?1002l\x1b[?1004h", "\x1b[?2004h\x1b[?2026h\x1b[?2026l",
		"\x1b7\x1b8\x1b=\x1b>\x1bM\x1b(0lqk\x1b(B\x0e\x0f", "\x1b[!p", "\x1b[6 q", "\x1b[4h\x1b[4l",
		"\x1b[>1u\x1b[<u\x1b[=5;1u", "\x1b[>4;2m", "\x1b[22;0;0t\x1b[23;0;0t", "\x1bc",
		"\x1b]8;;https://example.test/a?b=c\x1b\\link\x1b]8;;\x1b\\",
		"\x1b]9;4;1;50\x1b\\", "\x1b]9;done\x1b\\", "\x1b]777;notify;agent;done\x1b\\",
	} {
		if out, dropped := through(t, s, false); out != s || dropped != nil {
			t.Errorf("%q came out as %q, dropped %v", s, out, dropped)
		}
	}
}

func TestQueriesPassOnlyWhileSomebodyReadsTheAnswer(t *testing.T) {
	for _, s := range []string{
		"\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[>0c", "\x1b[6n", "\x1b[?6n", "\x1b[?996n", "\x1b[?u", "\x1b[?2026$p", "\x1b[?4m",
		"\x1b[>q", "\x1b[>0q", "\x1b[14t", "\x1b[18t", "\x1b]11;?\x1b\\", "\x1b]10;?\x1b\\", "\x1b]4;7;?\x1b\\",
	} {
		if out, _ := through(t, s, true); out != s {
			t.Errorf("live: %q came out as %q", s, out)
		}
		if out, dropped := through(t, s, false); out != "" || len(dropped) != 1 {
			t.Errorf("not live: %q came out as %q, dropped %v", s, out, dropped)
		}
		f := Filter{Queries: true}
		if f.Append(nil, []byte(s)); !f.Asked() {
			t.Errorf("%q was passed and is forgotten", s)
		}
	}
}

func TestWhatActsOnTheUsersMachineIsDropped(t *testing.T) {
	for name, s := range map[string]string{
		"clipboard":                     "\x1b]52;c;ZXZpbA==\a",
		"clipboard, ended by ST":        "\x1b]52;c;ZXZpbA==\x1b\\",
		"clipboard read":                "\x1b]52;c;?\a",
		"clipboard by C1":               "\u009d52;c;ZXZpbA==\u009c",
		"clipboard by iTerm":            "\x1b]1337;CopyToClipboard=\a",
		"file by iTerm":                 "\x1b]1337;File=name=x;inline=0:AAAA\a",
		"device control":                "\x1bP$qm\x1b\\",
		"terminfo query":                "\x1bP+q544e\x1b\\",
		"tmux pass-through":             "\x1bPtmux;\x1b\x1b]52;c;ZXZpbA==\a\x1b\\",
		"sixel":                         "\x1bPq#0;2;0;0;0\x1b\\",
		"APC":                           "\x1b_Gi=1,a=q;AAAA\x1b\\",
		"PM":                            "\x1b^x\x1b\\",
		"SOS":                           "\x1bXx\x1b\\",
		"title by screen":               "\x1bkevil\x1b\\",
		"answer back":                   "\x05",
		"title report":                  "\x1b[21t",
		"icon report":                   "\x1b[20t",
		"move window":                   "\x1b[3;0;0t",
		"resize window":                 "\x1b[8;1;1t",
		"printer":                       "\x1b[5i",
		"screen checksum":               "\x1b[1;1;1;1;1;1*y",
		"status, Carrel's own barrier":  "\x1b[5n",
		"device attributes 3":           "\x1b[=c",
		"identify":                      "\x1bZ",
		"leave UTF-8":                   "\x1b%@",
		"eight-bit answers":             "\x1b G",
		"VT52":                          "\x1b[?2l",
		"keyboard lock":                 "\x1b[2h",
		"132 columns":                   "\x1b[?3h",
		"mode beside an allowed one":    "\x1b[?25;2l",
		"title modes":                   "\x1b[>2t",
		"shell marks":                   "\x1b]133;A\a",
		"working directory":             "\x1b]7;file:///etc\a",
		"macro of one terminal":         "\x1b]9;6;\"macro\"\a",
		"notice that reports":           "\x1b]99;i=1:a=report;x\a",
		"palette":                       "\x1b]4;1;#000000\a",
		"background":                    "\x1b]11;#000000\a",
		"font":                          "\x1b]50;x\a",
		"raw C1":                        "\x9b5n",
		"huge parameter":                "\x1b[99999999999b",
		"parameters in the wrong place": "\x1b[1 2q",
	} {
		out, dropped := through(t, s, true)
		if strings.ContainsAny(out, "\x1b\x05\a") || bytes.Contains([]byte(out), []byte{0xc2, 0x9b}) || bytes.Contains([]byte(out), []byte{0xc2, 0x9d}) {
			t.Errorf("%s: %q came out as %q", name, s, out)
		}
		if len(dropped) == 0 && !strings.HasPrefix(s, "\x9b") {
			t.Errorf("%s: nothing was reported as dropped", name)
		}
		if after, _ := through(t, s+"\x1b[0mnext", true); !strings.HasSuffix(after, "\x1b[0mnext") {
			t.Errorf("%s: what follows is lost: %q", name, after)
		}
	}
}

func TestTitlesAndLinksAreCutAndCleaned(t *testing.T) {
	out, _ := through(t, "\x1b]2;a\tb\u202e"+strings.Repeat("x", 500)+"\a", false)
	if want := "\x1b[22;0t\x1b]2;ab" + strings.Repeat("x", maxTitle-2) + "\x1b\\"; out != want {
		t.Errorf("title: %q", out)
	}
	for _, target := range []string{"file:///etc/passwd", "ssh://x", "https://a b", "javascript:x", "https://" + strings.Repeat("a", maxTarget)} {
		if out, _ := through(t, "\x1b]8;id=1;"+target+"\atext", false); out != "\x1b]8;;\x1b\\text" {
			t.Errorf("link to %.30s: %q", target, out)
		}
	}
}

func TestAnUnfinishedSequenceIsNeverPassedOn(t *testing.T) {
	for _, s := range []string{"\x1b", "\x1b[", "\x1b[31", "\x1b]0;title", "\x1bP", "\x1b(", "\xe2\x82"} {
		if out, _ := through(t, "x"+s, true); out != "x" {
			t.Errorf("%q: %q", s, out)
		}
		f := Filter{}
		f.Append(nil, []byte(s))
		f.Reset()
		if out := f.Append(nil, []byte("m")); string(out) != "m" {
			t.Errorf("%q goes on after a reset: %q", s, out)
		}
	}
}

func TestResetUndoesWhatWasDone(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"hello\r\n", ""},
		{"\x1b[31m", "\x1b[0m"},
		{"\x1b[?1049h\x1b[?25l\x1b[?2004h", "\x1b[?25h\x1b[?1049l\x1b[?2004l\x1b[0m"},
		{"\x1b[?1049h\x1b[?1049l", "\x1b[0m"},
		{"\x1b[?1000;1006h\x1b[>1u\x1b(0\x1b=", "\x1b[?1000l\x1b[?1006l\x1b[<99u\x1b[=0u\x1b[>4m\x1b(B\x1b)B\x0f\x1b>\x1b[0m"},
		{"\x1b]0;t\a", "\x1b[23;0t\x1b[0m"},
		{"\x1b[?1049h\x1bc", "\x1b[0m"},
	} {
		f := Filter{}
		f.Append(nil, []byte(c.in))
		if got := string(f.Reset()); got != c.want {
			t.Errorf("after %q: reset %q, want %q", c.in, got, c.want)
		}
		if got := f.Reset(); got != nil {
			t.Errorf("after %q: second reset %q", c.in, got)
		}
	}
}

var complete = regexp.MustCompile("^(?:[^\x1b]|\x1b[78=>DEHMc]|\x1b[()*+][0AB]|\x1b%G|\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\](?:0|1|2|4|8|9|10|11|12|777);[^\x00-\x1f]*\x1b\\\\)*$")

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"\x1b]52;c;aa\a", "\x1b[?25l\xc2\x9b5n", "\x1bP\x1b\\", "a\xf0\x9f\x98\x80\x1b[1;2;3m", "\x1b]0;t\x1b\\\x1b[\x1b[c"} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, p []byte, queries bool) {
		out, _ := through(t, string(p), queries)
		if !complete.MatchString(out) {
			t.Fatalf("%q came out as %q", p, out)
		}
		for _, r := range out {
			if r >= 0x7f && r < 0xa0 || r < 0x20 && r != 0x1b && !passesControl(byte(r)) {
				t.Fatalf("%q lets %U through: %q", p, r, out)
			}
		}
		if again, _ := through(t, out, queries); again != out && !strings.Contains(out, "\x1b]") {
			t.Fatalf("%q is filtered twice to %q", out, again)
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	p := bytes.Repeat([]byte("\x1b[32mok\x1b[0m  \x1b[1mgithub.com/example/package\x1b[0m 0.012s\r\n"), 500)
	out := make([]byte, 0, 2*len(p))
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		f := Filter{}
		f.Append(out, p)
	}
}
