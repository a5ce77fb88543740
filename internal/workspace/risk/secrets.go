package risk

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel"
)

// secretKind recognises one kind of credential. A content without the anchor
// is not searched, so that most files cost one scan for fixed strings.
type secretKind struct {
	what    string
	anchors []string
	expr    string
	// generic kinds count only when the value looks random.
	generic bool
}

var secretKinds = []secretKind{
	{what: "a private key", anchors: []string{"PRIVATE KEY"}, expr: `-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----`},
	{what: "an AWS access key", anchors: []string{"AKIA", "ASIA"}, expr: `\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`},
	{what: "a GitHub token", anchors: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}, expr: `\b(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{36,251})\b`},
	{what: "a GitLab token", anchors: []string{"glpat-", "gldt-", "glrt-", "glcbt-"}, expr: `\bgl(?:pat|dt|rt|cbt)-[A-Za-z0-9_-]{20,}`},
	{what: "a Slack token", anchors: []string{"xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xapp-"}, expr: `\b(?:xox[abprs]|xapp)-[A-Za-z0-9-]{20,}`},
	{what: "a Slack webhook", anchors: []string{"hooks.slack.com"}, expr: `hooks\.slack\.com/services/T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]{20,}`},
	{what: "an Anthropic key", anchors: []string{"sk-ant-"}, expr: `\bsk-ant-[A-Za-z0-9_-]{20,}`},
	{what: "an OpenAI key", anchors: []string{"sk-proj-", "sk-svcacct-", "T3BlbkFJ"}, expr: `\bsk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{30,}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20})`},
	{what: "a Google key", anchors: []string{"AIza"}, expr: `\bAIza[A-Za-z0-9_-]{35}\b`},
	{what: "a Stripe key", anchors: []string{"sk_live_", "rk_live_"}, expr: `\b[sr]k_live_[A-Za-z0-9]{20,}`},
	{what: "an npm token", anchors: []string{"npm_", "_authToken"}, expr: `\bnpm_[A-Za-z0-9]{36}\b|_authToken\s*=\s*[A-Za-z0-9_-]{20,}`},
	{what: "a PyPI token", anchors: []string{"pypi-AgE"}, expr: `\bpypi-AgE[A-Za-z0-9_-]{50,}`},
	{what: "a SendGrid key", anchors: []string{"SG."}, expr: `\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b`},
	{what: "a Hugging Face token", anchors: []string{"hf_"}, expr: `\bhf_[A-Za-z0-9]{34,}\b`},
	{what: "a DigitalOcean token", anchors: []string{"dop_v1_", "doo_v1_"}, expr: `\bdo[opr]_v1_[a-f0-9]{64}\b`},
	{what: "an Azure storage key", anchors: []string{"AccountKey="}, expr: `AccountKey=[A-Za-z0-9+/]{86}==`},
	{what: "a signed web token", anchors: []string{"eyJ"}, expr: `\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}`},
	{what: "a password in a URL", anchors: []string{"://"}, expr: `\b[a-z][a-z0-9+.-]*://[^\s/:@"'<>{}$]+:([^\s/:@"'<>{}$]{6,})@[A-Za-z0-9.-]+`, generic: true},
	{what: "a value named like a secret", anchors: []string{"secret", "SECRET", "Secret", "passw", "PASSW", "Passw", "token", "TOKEN", "Token", "api_key", "API_KEY", "apikey", "apiKey", "private_key", "auth"},
		expr: `(?i)(?:secret|passwo?r?d|token|api_?key|private_?key|auth)[a-z0-9_-]*["']?\s*(?::|=|:=|=>)\s*["']?([A-Za-z0-9+/_=.-]{20,})["']?`, generic: true},
}

// secretExprs are compiled on first use of each.
var secretExprs = func() []func() *regexp.Regexp {
	out := make([]func() *regexp.Regexp, len(secretKinds))
	for i, k := range secretKinds {
		out[i] = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(k.expr) })
	}
	return out
}()

// bySecret reports credentials that the old content did not have. The reason
// says kind and line, never the value: reasons are shown and logged.
func bySecret(f File, out *collector) {
	if f.gone() || f.Kind != carrel.FileRegular || len(f.Now.Bytes) == 0 {
		return
	}
	for i, k := range secretKinds {
		if !containsAny(f.Now.Bytes, k.anchors) {
			continue
		}
		for _, m := range secretExprs[i]().FindAllSubmatchIndex(f.Now.Bytes, 50) {
			value := f.Now.Bytes[m[0]:m[1]]
			if k.generic {
				value = f.Now.Bytes[m[2]:m[3]]
			}
			if bytes.Contains(f.Was.Bytes, value) || k.generic && !random(string(value)) {
				continue
			}
			severity := carrel.SeverityCritical
			if k.generic {
				severity = carrel.SeverityHigh
			}
			line := 1 + bytes.Count(f.Now.Bytes[:m[0]], []byte("\n"))
			out.add("secret", severity, fmt.Sprintf("line %d holds what looks like %s", line, k.what))
			break
		}
	}
}

func containsAny(b []byte, anchors []string) bool {
	for _, a := range anchors {
		if bytes.Contains(b, []byte(a)) {
			return true
		}
	}
	return false
}

// random tells a drawn value from a name or a placeholder: by its entropy,
// and by having digits as well as letters.
func random(s string) bool {
	lower := strings.ToLower(s)
	for _, word := range []string{"example", "placeholder", "changeme", "your", "dummy", "xxxx", "redacted", "test", "sample", "secret", "token", "password", "localhost"} {
		if strings.Contains(lower, word) {
			return false
		}
	}
	if !strings.ContainsAny(s, "0123456789") || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	entropy := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			entropy -= p * math.Log2(p)
		}
	}
	return entropy > 3.2 || len(s) < 12 && entropy > 2.5
}
