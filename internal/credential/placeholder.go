package credential

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// issued are the beginnings by which clients tell kinds of keys apart. They
// are kept; what follows is random. The longest that fits counts.
var issued = []string{
	"github_pat_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-", "gldt-", "glptt-",
	"sk-ant-api03-", "sk-ant-oat01-", "sk-ant-", "sk-proj-", "sk-or-v1-", "sk-", "sk_live_", "sk_test_", "rk_live_", "rk_test_",
	"npm_", "pypi-", "hf_", "dckr_pat_", "dop_v1_", "shpat_", "lin_api_", "AIza", "AKIA", "ASIA", "SG.",
	"xoxb-", "xoxp-", "xoxa-", "xapp-", "ya29.", "cio", "vercel_", "Atlassian", "ATATT",
}

// minRandom is how many random characters a placeholder of a key's own shape
// must have to be told apart from everything else.
const minRandom = 16

// newPlaceholder returns a text that looks like the secret to a client that
// checks the form of its key, says nothing of it beyond that form, and is
// found again wherever it turns up: prefix and punctuation are kept, letters
// and digits are random ones of the same kind. A JSON Web Token becomes one
// that nobody signed and that expires when the lease does.
func newPlaceholder(secret string, expires time.Time) string {
	if token := webToken(secret, expires); token != "" {
		return token
	}
	prefix := ""
	for _, p := range issued {
		if len(p) > len(prefix) && strings.HasPrefix(secret, p) {
			prefix = p
		}
	}
	rest, random := alike(secret[len(prefix):])
	if random < minRandom {
		return "carrel_" + strings.ToLower(rand.Text())
	}
	return prefix + rest
}

// alike replaces letters and digits by random ones of the same kind, and says
// how many it replaced.
func alike(s string) (string, int) {
	noise := make([]byte, len(s))
	_, _ = rand.Read(noise) // never returns an error
	random := 0
	for i := range noise {
		n := noise[i]
		random++
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
			noise[i] = 'a' + n%26
		case c >= 'A' && c <= 'Z':
			noise[i] = 'A' + n%26
		case c >= '0' && c <= '9':
			noise[i] = '0' + n%10
		default:
			noise[i] = c
			random--
		}
	}
	return string(noise), random
}

// webToken returns a token of the length of a JSON Web Token, or "" if the
// secret is none or too short to be imitated.
func webToken(secret string, expires time.Time) string {
	parts := strings.Split(secret, ".")
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "eyJ") || !strings.HasPrefix(parts[1], "eyJ") {
		return ""
	}
	encode := base64.RawURLEncoding.EncodeToString
	header := encode([]byte(`{"alg":"HS256","typ":"JWT"}`))
	claims := fmt.Sprintf(`{"iss":"carrel","exp":%d,"jti":"%s","pad":"`, expires.Unix(), rand.Text())
	room := len(secret) - len(header) - 2 - len(parts[2])
	signature := len(parts[2])
	if room%4 == 1 { // no base64 text has this length
		room, signature = room-1, signature+1
	}
	pad := room*3/4 - len(claims) - len(`"}`)
	if pad < 0 {
		return ""
	}
	signed, _ := alike(strings.Repeat("aA0", signature/3+1)[:signature])
	return header + "." + encode([]byte(claims+strings.Repeat("x", pad)+`"}`)) + "." + signed
}
