package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/spec"
)

func decideDocument(t *testing.T, e *Engine, doc string) carrel.Decision {
	t.Helper()
	x, _ := e.ExplainDocument([]byte(doc))
	return x.Decision
}

// TestDocumentsThatAreNotRightAreDenied: missing, mistyped and unclean fields
// are denied with the field's name (E71, 155).
func TestDocumentsThatAreNotRightAreDenied(t *testing.T) {
	e := engine(t, user(openHead+"governs := {\"write\", \"exec\", \"connect\", \"publish\"}\n"))
	if d := decideDocument(t, e, `{"operation": "write", "path": "/workspace/a"}`); d.Verdict != carrel.Allow {
		t.Fatalf("the positive twin: %+v", d)
	}
	for doc, rule := range map[string]string{
		``: "input/json", `[]`: "input/json", `null`: "input/json", `{`: "input/json", `{} {}`: "input/json",
		`{}`: "input/operation", `{"operation": null}`: "input/operation", `{"operation": ["write"]}`: "input/operation",
		`{"operation": "Write", "path": "/workspace/a"}`:                                "input/operation",
		`{"operation": "write"}`:                                                        "input/path",
		`{"operation": "write", "path": null}`:                                          "input/path",
		`{"operation": "write", "path": ["/workspace/a"]}`:                              "input/path",
		`{"operation": "write", "path": {"a": 1}}`:                                      "input/path",
		`{"operation": "write", "path": 7}`:                                             "input/path",
		`{"operation": "write", "path": ""}`:                                            "input/path",
		`{"operation": "write", "path": "workspace/a"}`:                                 "input/path",
		`{"operation": "write", "path": "/workspace/../etc/passwd"}`:                    "input/path",
		`{"operation": "write", "path": "/workspace//a"}`:                               "input/path",
		`{"operation": "write", "path": "/workspace/a/"}`:                               "input/path",
		`{"operation": "write", "path": "/workspace/e\u0301"}`:                          "input/path",
		`{"operation": "write", "path": "/workspace/\u0000"}`:                           "input/path",
		`{"operation": "write", "path": "/workspace/\ud800"}`:                           "input/json",
		`{"operation": "write", "Path": "/workspace/a"}`:                                "input/path",
		`{"operation": "write", "path": "/workspace/a", "path": "/workspace/b"}`:        "input/json",
		`{"operation": "write", "path": "/workspace/a", "file": {"sise": 1}}`:           "input/file",
		`{"operation": "write", "path": "/workspace/a", "file": {"size": "1"}}`:         "input/file",
		`{"operation": "write", "path": "/workspace/a", "parts": ["b"]}`:                "input/parts",
		`{"operation": "write", "path": "/workspace/.git/x", "classes": []}`:            "input/classes",
		`{"operation": "write", "path": "/workspace/a", "time": "Friday"}`:              "input/time",
		`{"operation": "write", "path": "/workspace/a", "time": 5}`:                     "input/time",
		`{"operation": "write", "path": "/workspace/a", "agent": 5}`:                    "input/agent",
		`{"operation": "exec"}`:                                                         "input/argv",
		`{"operation": "exec", "argv": "ls"}`:                                           "input/argv",
		`{"operation": "exec", "argv": [null]}`:                                         "input/argv",
		`{"operation": "exec", "argv": []}`:                                             "input/argv",
		`{"operation": "connect", "host": "a.test", "port": "443", "protocol": "tls"}`:  "input/port",
		`{"operation": "connect", "host": "a.test", "port": 443.5, "protocol": "tls"}`:  "input/json",
		`{"operation": "connect", "host": "a.test", "protocol": "tls"}`:                 "input/port",
		`{"operation": "connect", "host": "a.test", "port": 443}`:                       "input/protocol",
		`{"operation": "connect", "host": "A.test", "port": 443, "protocol": "tls"}`:    "input/host",
		`{"operation": "connect", "host": ["a"], "port": 443, "protocol": "tls"}`:       "input/host",
		`{"operation": "publish"}`:                                                      "input/publication",
		`{"operation": "write", "path": "` + strings.Repeat("/a", maxPath) + `"}`:       "input/path",
		`{"operation": "write", "path": "` + strings.Repeat("/a", MaxDocument/2) + `"}`: "input/size",
	} {
		d := decideDocument(t, e, doc)
		if d.Verdict != carrel.Deny || !slices.Contains(d.Rules, rule) || d.Reason == "" {
			t.Errorf("%.80s: %s %v %q, want %s", doc, d.Verdict, d.Rules, d.Reason, rule)
		}
	}
}

func TestDocumentsOfEveryOperation(t *testing.T) {
	for _, doc := range []string{
		`{"operation":"write","path":"/workspace/a","raw_path":"a","file":{"change":"create","size":3,"labels":[{"name":"x","severity":"low"}]},"owners":["@a"]}`,
		`{"operation":"exec","argv":["go",{"base64":"/w=="}],"cwd":"/workspace","agent":"claude","run":"run_1"}`,
		`{"operation":"request","host":"a.test","port":443,"protocol":"tls","method":"GET","url":"/x?y","headers":["accept"],"body_size":-1,"upgrade":"websocket"}`,
		`{"operation":"request","host":"a.test","port":443,"protocol":"tls","method":"GET","path":"/x","query":"y"}`,
		`{"operation":"resolve","host":"a.test"}`,
		`{"operation":"approve","subject":"chg_1","subject_digest":"` + string(someDigest) + `","reason":"fine"}`,
		`{"operation":"credential","subject":"github"}`,
	} {
		d, err := ParseDocument([]byte(doc))
		if err != nil || len(d.Ignored) > 0 {
			t.Errorf("%s: %v, ignored %v", doc, err, d.Ignored)
			continue
		}
		in, err := newInput(d.Action)
		if err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		again, err := ParseDocument(in.json)
		if err != nil {
			t.Errorf("what a policy saw cannot be asked again: %s: %v", in.json, err)
			continue
		}
		if in2, err := newInput(again.Action); err != nil || in2.digest != in.digest {
			t.Errorf("%s\nis not\n%s", in2.json, in.json)
		}
	}
	d, err := ParseDocument([]byte(`{"operation":"write","path":"/workspace/a","user":"x","content":""}`))
	if err != nil || !slices.Equal(d.Ignored, []string{"content", "user"}) {
		t.Errorf("%v %v", d.Ignored, err)
	}
}

const fridays = head + `allow := true

deny contains "not on Fridays" if {
	startswith(input.path, "/workspace/migrations/")
	input.time.weekday == "Friday"
}
`

func TestTimeOfTheDecision(t *testing.T) {
	e := engine(t, user(fridays))
	friday := time.Date(2026, 11, 20, 23, 30, 0, 0, time.FixedZone("", 3600))
	a := write("/workspace/migrations/1.sql")
	d := e.DecideAt(a, friday)
	if d.Verdict != carrel.Deny || d.Time != "2026-11-20T23:30:00+01:00" {
		t.Errorf("%+v", d)
	}
	if d := e.DecideAt(a, friday.Add(time.Hour)); d.Verdict != carrel.Allow || d.Time == "" {
		t.Errorf("an hour later it is Saturday there: %+v", d)
	}
	if again := e.DecideAt(a, friday); again.Input != d.Input && again.Verdict != carrel.Deny {
		t.Errorf("the same time gives another answer: %+v", again)
	}
	x := e.ExplainAt(a, friday)
	if !strings.Contains(string(x.Input), `"time":{"at":"2026-11-20T23:30:00+01:00","date":"2026-11-20","hour":23,"minute":30,"weekday":"Friday"}`) {
		t.Errorf("%s", x.Input)
	}
	if got := carrel.DigestBytes(x.Input); got != x.Decision.Input {
		t.Error("the input shown is not the one decided on")
	}
	if d := decideDocument(t, e, `{"operation":"write","path":"/workspace/migrations/1.sql","time":"2026-11-20T10:00:00Z"}`); d.Verdict != carrel.Deny {
		t.Errorf("%+v", d)
	}
	if d := engine(t, user(openHead)).DecideAt(a, friday); d.Time != "" {
		t.Errorf("nobody looked at the time: %+v", d)
	}
}

// TestWhoLooksAtTheTime: an answer that depends on the time must not be
// remembered without it, however the rule comes by it.
func TestWhoLooksAtTheTime(t *testing.T) {
	for rule, want := range map[string]bool{
		`deny if input.time.hour > 20`: true, `deny if input["time"].hour > 20`: true, `deny if input[x].hour > 20`: true,
		`deny if walk(input, [_, "Friday"])`: true, `deny if { doc := input; doc.time.hour > 20 }`: true,
		`deny if f(input)` + "\nf(x) if x.time.hour > 20": true, `deny if object.get(input, "time", 1) == 1`: true,
		`deny if input.path == "x"`: false, `deny if input.file.time == 1`: false,
		`deny if data.cowork.access.x.time == 1` + "\nx := {\"time\": 1}": false,
	} {
		e := engine(t, user(openHead+rule+"\n"))
		if got := e.readsTime(carrel.OpWrite); got != want {
			t.Errorf("%s: %v, want %v", rule, got, want)
		}
	}
	for name, source := range map[string]string{
		"imported":       "package cowork.access\nimport rego.v1\nimport input.time as now\nallow if now.hour < 20\n",
		"imported whole": "package cowork.access\nimport rego.v1\nimport input as doc\nallow if doc.time.hour < 20\n",
		"library":        "package cowork.access\nimport rego.v1\nallow if late\nlate if input.time.hour > 20\n",
	} {
		if !engine(t, user(source)).readsTime(carrel.OpWrite) {
			t.Errorf("%s: the time is not noticed", name)
		}
	}
}

// TestSchemaNamesEveryField holds the JSON Schema to the inputs, and to the
// evaluator, which finds misspelt fields with it.
func TestSchemaNamesEveryField(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(spec.PolicyInputSchema, &schema); err != nil {
		t.Fatal(err)
	}
	file := write("/workspace/a")
	file.File = &carrel.FileChange{Path: "a", Labels: []carrel.Label{{Name: "x", Severity: carrel.SeverityLow}}}
	file.Owners = []string{"@a"}
	request := carrel.Action{Operation: carrel.OpRequest, Host: "a", Port: 1, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/"}
	approve := approveAction.Clone()
	approve.Reason = "x"
	attest := approve.Clone()
	attest.Operation, attest.Attestation = carrel.OpAttest, &carrel.Attestation{Key: someDigest, Statements: []carrel.Statement{{Type: "https://a.test/v1", Digest: someDigest}}}
	seen := map[string]bool{}
	for _, a := range []carrel.Action{file, execAction, request, publishAction(true, carrel.SeverityLow), approve, attest} {
		in, err := newInput(a)
		if err != nil {
			t.Fatal(err)
		}
		in.at(time.Now()).value.Value.(ast.Object).Foreach(func(k, v *ast.Term) {
			name := string(k.Value.(ast.String))
			property, ok := schema.Properties[name]
			if seen[name] = true; !ok {
				t.Errorf("the schema does not know %s", name)
			}
			if o, ok := v.Value.(ast.Object); ok {
				o.Foreach(func(k, _ *ast.Term) {
					if _, ok := property.Properties[string(k.Value.(ast.String))]; !ok {
						t.Errorf("the schema does not know %s.%s", name, k)
					}
				})
			}
		})
	}
	for name := range schema.Properties {
		if !seen[name] {
			t.Errorf("the schema knows %s, which no input has", name)
		}
	}
}

// TestSchemaNamesEveryOperation: an editor must not mark a right one as wrong.
func TestSchemaNamesEveryOperation(t *testing.T) {
	var schema struct {
		Properties struct {
			Operation struct{ Enum []carrel.Operation }
		}
	}
	if err := json.Unmarshal(spec.PolicyInputSchema, &schema); err != nil {
		t.Fatal(err)
	}
	if want := slices.Concat(carrel.AgentOperations, carrel.OperatorOperations); !slices.Equal(slices.Sorted(slices.Values(schema.Properties.Operation.Enum)), slices.Sorted(slices.Values(want))) {
		t.Errorf("the schema has %v, and there are %v", schema.Properties.Operation.Enum, want)
	}
}

// What the desk's network refuses by itself says what that was and what to do:
// nothing is wrong with how it was asked.
func TestPacketThatIsNotCarriedIsNamed(t *testing.T) {
	p, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, protocol := range []carrel.Protocol{"udp", "ip-1"} {
		d := p.Decide(t.Context(), carrel.Action{Operation: carrel.OpConnect, Host: "192.0.2.1", Port: 443, Protocol: protocol})
		if d.Verdict != carrel.Deny || !slices.Contains(d.Rules, "input/protocol") || strings.Contains(d.Reason, "malformed") ||
			!strings.Contains(d.Reason, string(protocol)) || len(d.NextSteps) == 0 || !strings.Contains(d.NextSteps[0], "TCP") {
			t.Errorf("%s: %+v", protocol, d)
		}
	}
}
