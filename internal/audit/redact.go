package audit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/private"
)

// redactionKeyFile holds the key of the tokens, beside the signing key.
const redactionKeyFile = "redaction.key"

// MinSecret is the shortest secret that is taken out: a shorter one is part of
// too many other words.
const MinSecret = 8

// Redactor takes secrets out of what is recorded, before it is hashed, and
// puts tokens in: equal secrets have equal tokens, and whoever holds the
// redaction key can show that a token stands for a secret, but nobody can read
// a secret from its token. It is safe for concurrent use.
type Redactor struct {
	keys keyring

	mu    sync.Mutex // guards what follows
	key   []byte
	known map[string]bool
	pairs []string // spelling, token, spelling, token, …

	replace atomic.Pointer[strings.Replacer] // nil: no secret is known
}

// NewRedactor returns a redactor whose key is in keyDir, where it is made when
// it is first needed.
func NewRedactor(keyDir string) *Redactor {
	return &Redactor{keys: keyring{keyDir, realDisk{}}, known: map[string]bool{}}
}

// Add makes a secret known, with the ways in which it may be spelt. From here
// on it does not get into the log. A secret that is too short to be told from
// other text is an error.
func (r *Redactor) Add(secret string, spellings []string) error {
	if len(secret) < MinSecret {
		return fmt.Errorf("a secret of fewer than %d characters cannot be kept out of the log", MinSecret)
	}
	token, err := r.Token(secret)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[secret] {
		return nil
	}
	r.known[secret] = true
	for _, s := range append([]string{secret}, spellings...) {
		if len(s) >= MinSecret {
			r.pairs = append(r.pairs, s, token)
		}
	}
	r.replace.Store(strings.NewReplacer(r.pairs...))
	return nil
}

// Token returns what stands for a secret in the log.
func (r *Redactor) Token(secret string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key == nil {
		key, err := r.keys.redactionKey()
		if err != nil {
			return "", fmt.Errorf("keeping secrets out of the log: %w", err)
		}
		r.key = key
	}
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(secret))
	return "[secret " + hex.EncodeToString(mac.Sum(nil)[:16]) + "]", nil
}

// redactionKey reads the key, or makes it. Of the processes that make the first
// one at the same time, all get the same, and none a part of it.
func (k keyring) redactionKey() (key []byte, err error) {
	if key, err = k.readRedactionKey(); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := privateDir(k.dir); err != nil {
		return nil, err
	}
	err = private.Locked(k.dir, func() error {
		if key, err = k.readRedactionKey(); !errors.Is(err, fs.ErrNotExist) {
			return err // somebody made it meanwhile
		}
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails (Go 1.24 and later)
		return replace(k.disk, filepath.Join(k.dir, redactionKeyFile), []byte(base64.StdEncoding.EncodeToString(key)+"\n"))
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}

func (k keyring) readRedactionKey() ([]byte, error) {
	text, err := k.read(redactionKeyFile)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s is not a redaction key: restore it from a backup; or move it away to begin a new one, with which earlier tokens cannot be compared", filepath.Join(k.dir, redactionKeyFile))
	}
	return key, nil
}

// Action returns the action without secrets. It is for the gate, which digests
// what it returns.
func (r *Redactor) Action(a carrel.Action) carrel.Action {
	if replace := r.replace.Load(); replace != nil {
		a = a.Clone()
		eachString(reflect.ValueOf(&a).Elem(), replace.Replace)
	}
	return a
}

// clean takes secrets out of a record that was encoded as l: it may replace
// both. Those of an action must have been taken out before its digest was made.
func (r *Redactor) clean(of *carrel.Record, l *line) (*line, error) {
	replace := r.replace.Load()
	if replace == nil {
		return l, nil
	}
	if text := string(l.text); replace.Replace(text) == text {
		return l, nil
	}
	var record carrel.Record
	if err := carrel.Decode(l.text[:len(l.text)-1], &record); err != nil {
		return nil, err
	}
	action := record.Action
	record.Action = nil
	eachString(reflect.ValueOf(&record).Elem(), replace.Replace)
	record.Action = action
	clean, err := encode(&record)
	if err != nil {
		return nil, err
	}
	if text := string(clean.text); replace.Replace(text) != text {
		return nil, errors.New("an action with a secret was to be recorded; the gate takes secrets out")
	}
	*of = record
	return clean, nil
}

// eachString replaces every string in v, which must not be shared.
func eachString(v reflect.Value, f func(string) string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(f(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			eachString(v.Elem(), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachString(v.Index(i), f)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			elem, name := reflect.New(v.Type().Elem()).Elem(), reflect.New(v.Type().Key()).Elem()
			elem.Set(v.MapIndex(key))
			name.Set(key)
			v.SetMapIndex(key, reflect.Value{})
			eachString(elem, f)
			eachString(name, f)
			v.SetMapIndex(name, elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				eachString(v.Field(i), f)
			}
		}
	}
}
