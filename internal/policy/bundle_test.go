package policy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

func newSigner(t *testing.T, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "p384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicPEM(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// writeFiles packs files as they are and returns the bundle's path.
func writeFiles(t *testing.T, files map[string][]byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := pack(&b, files); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bundle.tar.gz")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var plainFiles = map[string][]byte{
	manifestFile: []byte(`{"revision": "7", "roots": [""]}`),
	"a.rego":     []byte(head + "allow if input.path in data.team.paths\n"),
	"data.json":  []byte(`{"team": {"paths": ["/workspace/a"]}}`),
}

// signed adds a signature over the files, which change may spoil.
func signed(t *testing.T, key SigningKey, files map[string][]byte) map[string][]byte {
	t.Helper()
	out := maps.Clone(files)
	signature, err := signBundle(files, key)
	if err != nil {
		t.Fatal(err)
	}
	out[signaturesFile] = signature
	return out
}

func TestSignedBundle(t *testing.T) {
	for _, kind := range []string{"p256", "p384", "rsa", "ed25519"} {
		key := SigningKey{"team", newSigner(t, kind)}
		path := writeFiles(t, signed(t, key, plainFiles))
		l, err := FromBundle("user", User, path, []Key{{"other", newSigner(t, "p256").Public()}, {"team", key.Signer.Public()}})
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if l.Revision != "7" || l.SignedBy != "team" {
			t.Errorf("%+v", l)
		}
		e := engine(t, l)
		wantVerdict(t, e, write("/workspace/a"), carrel.Allow, "user/allow")
		wantVerdict(t, e, write("/workspace/b"), carrel.Deny, "user/not-allowed")
	}
}

// TestBundlesThatAreNotQuiteSigned: attack E76; each is refused, and says why.
func TestBundlesThatAreNotQuiteSigned(t *testing.T) {
	key := SigningKey{"team", newSigner(t, "p256")}
	keys := []Key{{"team", key.Signer.Public()}}
	good := signed(t, key, plainFiles)
	with := func(name, text string) map[string][]byte {
		out := maps.Clone(good)
		out[name] = []byte(text)
		return out
	}
	without := func(name string) map[string][]byte {
		out := maps.Clone(good)
		delete(out, name)
		return out
	}
	token := func(header, body string, signature []byte) map[string][]byte {
		b, _ := json.Marshal(map[string][]string{"signatures": {encoding.EncodeToString([]byte(header)) + "." + encoding.EncodeToString([]byte(body)) + "." + encoding.EncodeToString(signature)}})
		return with(signaturesFile, string(b))
	}
	anonymous := SigningKey{"", key.Signer}
	scoped, err := sealToken(claims{Scope: "write"}, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files map[string][]byte
		keys  []Key
		want  string
	}{
		"unsigned":            {plainFiles, keys, "not signed"},
		"no key configured":   {good, nil, "no key is configured"},
		"another key":         {good, []Key{{"team", newSigner(t, "p256").Public()}}, "not one of the key"},
		"unknown key":         {good, []Key{{"else", key.Signer.Public()}}, "not configured"},
		"no key named":        {signed(t, anonymous, plainFiles), []Key{{"team", key.Signer.Public()}, {"b", newSigner(t, "p256").Public()}}, "does not say which key"},
		"extra file":          {with("b.rego", "package x"), keys, "b.rego is there and not signed"},
		"hidden extra file":   {with("x/"+signaturesFile, "{}"), keys, "there and not signed"},
		"missing file":        {without("data.json"), keys, "data.json is signed and not there"},
		"changed file":        {with("a.rego", string(plainFiles["a.rego"])+"\n"), keys, "not what was signed"},
		"changed data":        {with("data.json", `{"team": {"paths": ["/workspace/b"]}}`), keys, "not what was signed"},
		"two signatures":      {with(signaturesFile, `{"signatures": ["a.b.c", "a.b.c"]}`), keys, "exactly one"},
		"no signatures":       {with(signaturesFile, `{"signatures": []}`), keys, "exactly one"},
		"plugin":              {with(signaturesFile, strings.Replace(string(good[signaturesFile]), "{", `{"plugin":"x",`, 1)), keys, "exactly one"},
		"algorithm none":      {token(`{"alg":"none","kid":"team"}`, `{"files":[]}`, nil), keys, "not one of the key"},
		"shared secret":       {token(`{"alg":"HS256","kid":"team"}`, `{"files":[]}`, []byte("x")), keys, "not one of the key"},
		"critical header":     {token(`{"alg":"ES256","kid":"team","crit":["b64"]}`, `{"files":[]}`, nil), keys, "cannot be read"},
		"a scope":             {with(signaturesFile, `{"signatures": ["`+scoped+`"]}`), keys, "scope"},
		"delta":               {signed(t, key, map[string][]byte{manifestFile: plainFiles[manifestFile], "patch.json": []byte(`{"data": []}`)}), keys, "patch.json is no part"},
		"compiled":            {signed(t, key, map[string][]byte{manifestFile: plainFiles[manifestFile], "policy.wasm": []byte("x")}), keys, "policy.wasm is no part"},
		"no revision":         {signed(t, key, map[string][]byte{"a.rego": plainFiles["a.rego"]}), keys, "names no revision"},
		"same data elsewhere": {with("data.json", `{"team":{"paths":["/workspace/a"]}}`), keys, ""}, // the spelling of a document does not matter
	} {
		_, err := FromBundle("user", User, writeFiles(t, c.files), c.keys)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := FromPath("user", User, writeFiles(t, good)); err == nil || !strings.Contains(err.Error(), "keys") {
		t.Errorf("a bundle is read without keys: %v", err)
	}
}

// TestSignedDocumentIsTheOneThatIsUsed: another spelling of a document has the
// same digest, and must have the same meaning. A raw U+2028 is a character in
// JSON and a line break in YAML.
func TestSignedDocumentIsTheOneThatIsUsed(t *testing.T) {
	key := SigningKey{"team", newSigner(t, "p256")}
	files := maps.Clone(plainFiles)
	files["data.json"] = []byte(`{"team": {"paths": ["/workspace/a\u2028b"], "size": 12345678901234567890123}}`)
	files = signed(t, key, files)
	files["data.json"] = []byte(strings.Replace(string(files["data.json"]), `\u2028`, "\u2028", 1))
	l, err := FromBundle("user", User, writeFiles(t, files), []Key{{"team", key.Signer.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Team struct {
			Paths []string
			Size  json.Number
		}
	}
	if err := json.Unmarshal(l.Data, &got); err != nil || got.Team.Paths[0] != "/workspace/a\u2028b" || got.Team.Size != "12345678901234567890123" {
		t.Errorf("%s: %v", l.Data, err)
	}
	files["data.json"] = []byte(`["a"]`)
	delete(files, signaturesFile)
	if _, err := FromBundle("user", User, writeFiles(t, signed(t, key, files)), []Key{{"team", key.Signer.Public()}}); err == nil || !strings.Contains(err.Error(), "not a JSON object") {
		t.Errorf("data that is no object: %v", err)
	}
}

// TestArchivesThatCanBeReadInTwoWays are refused before anything is checked.
func TestArchivesThatCanBeReadInTwoWays(t *testing.T) {
	for name, want := range map[string]string{"../x.rego": "clean", "a//b.rego": "clean", "a/../b.rego": "clean"} {
		var b bytes.Buffer
		if err := pack(&b, map[string][]byte{name: []byte("package x")}); err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(&b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	var big bytes.Buffer
	if err := pack(&big, map[string][]byte{"data.json": bytes.Repeat([]byte(" "), maxBundle+1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(&big); err == nil {
		t.Error("a bundle that unpacks to too much was read")
	}
	if _, err := unpack(strings.NewReader("package x")); err == nil {
		t.Error("a file that is no archive was read")
	}
}

func TestKeys(t *testing.T) {
	if _, err := ParseKey("k", publicPEM(t, newSigner(t, "p256").Public())); err != nil {
		t.Error(err)
	}
	for name, raw := range map[string][]byte{"no PEM": []byte("secret"), "two": bytes.Repeat(publicPEM(t, newSigner(t, "p256").Public()), 2), "private": []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")} {
		if _, err := ParseKey("k", raw); err == nil {
			t.Errorf("%s was read as a key", name)
		}
	}
}

func TestOlderRevision(t *testing.T) {
	for _, pair := range [][2]string{{"1", "2"}, {"9", "10"}, {"v1.9.3", "v1.10.0"}, {"2026-11-09", "2026-11-10"}, {"", "1"}, {"1", "1.1"}, {"a", "b"}, {"007", "8"}} {
		if !OlderRevision(pair[0], pair[1]) || OlderRevision(pair[1], pair[0]) {
			t.Errorf("%v", pair)
		}
	}
	for _, pair := range [][2]string{{"1", "1"}, {"01", "1"}, {"", ""}} {
		if OlderRevision(pair[0], pair[1]) || OlderRevision(pair[1], pair[0]) {
			t.Errorf("%v", pair)
		}
	}
}
