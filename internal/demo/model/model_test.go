package model

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func serve(t *testing.T, s Script) (*Model, string) {
	t.Helper()
	m := New(s)
	srv := httptest.NewServer(m)
	t.Cleanup(srv.Close)
	return m, srv.URL
}

func post(t *testing.T, url, body string) string {
	t.Helper()
	req, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", "canary")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, out)
	}
	return string(out)
}

var twoSteps = steps(Step{Text: "I list.", Tool: "Bash", Input: map[string]any{"command": "ls"}}, Step{Text: "listed"})

const (
	asked    = `{"model":"m","tools":[{"name":"Bash"}],"messages":[{"role":"user","content":"list"}`
	answered = asked + `,{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"Bash","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"a b"}]},{"type":"text","text":"reminder"}]}`
)

func TestStepFollowsConversationNotRequestCount(t *testing.T) {
	m, url := serve(t, twoSteps)
	ids := map[string]bool{}
	for _, c := range []struct{ body, stop, text string }{
		{asked + `]}`, "tool_use", "I list."},
		{asked + `]}`, "tool_use", "I list."}, // repeated: the same answer
		{answered + `]}`, "end_turn", "listed"},
		{answered + `,{"role":"assistant","content":"listed"},{"role":"user","content":"again"}]}`, "tool_use", "I list."},
	} {
		var got struct {
			Content []struct{ Text, ID string }
			Stop    string `json:"stop_reason"`
		}
		if err := json.Unmarshal([]byte(post(t, url+"/v1/messages?beta=true", c.body)), &got); err != nil {
			t.Fatal(err)
		}
		if got.Stop != c.stop || got.Content[0].Text != c.text {
			t.Errorf("got %+v, want %s %q", got, c.stop, c.text)
		}
		ids[got.Content[len(got.Content)-1].ID] = true
	}
	if len(ids) != 3 { // "" and one for each turn: a repeated identifier would be dropped by the client
		t.Errorf("identifiers %v", ids)
	}
	r := m.Requests()
	if len(r) != 4 || r[0].Header.Get("X-Api-Key") != "canary" || r[0].Path != "/v1/messages?beta=true" {
		t.Errorf("requests not remembered: %+v", r)
	}
}

func TestScriptSeesPromptAndResults(t *testing.T) {
	var seen Turn
	_, url := serve(t, func(turn Turn) Step { seen = turn; return Step{Text: "x"} })
	post(t, url+"/v1/messages", answered+`]}`)
	if seen.Prompt != "list" || len(seen.Results) != 1 || seen.Results[0] != "a b" {
		t.Errorf("turn = %+v", seen)
	}
}

func TestSideQuestionsAreOutsideTheScript(t *testing.T) {
	_, url := serve(t, func(Turn) Step { t.Error("script asked"); return Step{} })
	out := post(t, url+"/v1/messages", `{"model":"m","messages":[{"role":"user","content":"title?"}]}`)
	if !strings.Contains(out, "end_turn") {
		t.Error(out)
	}
	if out := post(t, url+"/v1/messages/count_tokens", `{}`); !strings.Contains(out, `"input_tokens":10`) {
		t.Error(out)
	}
}

func TestStreamHoldsWholeToolInput(t *testing.T) {
	_, url := serve(t, twoSteps)
	out := post(t, url+"/v1/messages", strings.Replace(asked, `{"model"`, `{"stream":true,"model"`, 1)+`]}`)
	var names []string
	var partial string
	for sc := bufio.NewScanner(strings.NewReader(out)); sc.Scan(); {
		data, ok := strings.CutPrefix(sc.Text(), "data: ")
		if !ok {
			continue
		}
		var e struct {
			Type  string
			Delta struct {
				Partial string `json:"partial_json"`
			}
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Type)
		partial += e.Delta.Partial
	}
	want := "message_start content_block_start content_block_delta content_block_stop " +
		"content_block_start content_block_delta content_block_stop message_delta message_stop"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("order %s", got)
	}
	if partial != `{"command":"ls"}` {
		t.Errorf("tool input %q", partial)
	}
}

// steps is the script that gives these answers in order to every prompt, and
// ends the turn after the last.
func steps(steps ...Step) Script {
	return func(t Turn) Step {
		if n := len(t.Results); n < len(steps) {
			return steps[n]
		}
		return Step{Text: "Done."}
	}
}
