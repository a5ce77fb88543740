package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

var (
	envName        = expression(`\A[A-Za-z_][A-Za-z0-9_]*\z`)
	serviceName    = expression(`\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z`)
	credentialName = expression(`\A[a-z0-9][a-z0-9._-]{0,63}\z`)
	cacheName      = expression(`\A[a-z][a-z0-9-]{0,31}\z`)
	toolName       = expression(`\A[A-Za-z][A-Za-z0-9_.-]{0,199}\*?\z`)
)

// expression is compiled when it is first met: most starts meet none.
func expression(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// validate checks values, resolves paths, and holds a repository to what a
// repository may say.
func (f *File) validate(s Source) error {
	if s.Layer == Repository {
		if err := f.checkRepository(); err != nil {
			return err
		}
	}
	return cmp.Or(
		each(f.Egress, checkEgress),
		each(f.Services, checkService),
		each(f.Env, checkEnv),
		each(f.Credentials, s.checkCredential),
		each(f.Hide, checkHide),
		each(f.Cache, checkCache),
		each(f.RO, s.resolve),
		each(f.Policy, s.resolve),
		each(f.PolicyKeys, s.resolve),
		each(f.Tools, checkTool),
		each(f.ExtraRoots, s.resolve),
		one(&f.Home, oneOf("keep", "discard")),
		one(&f.Staging, oneOf("overlay", "copy")),
		one(&f.Commands, oneOf(commandModes[1:]...)),
		one(&f.Limits.Pids, func(n *int64) error {
			if *n < 1 {
				return errors.New("pids must be at least 1")
			}
			return nil
		}),
		one(&f.UpstreamProxy, checkProxy),
		one(&f.Model.Endpoint, checkEndpoint),
		one(&f.Model.Key, s.checkKey),
		one(&f.Identity, checkIdentity),
		one(&f.Signing, s.checkSigning),
		one(&f.Witnesses, checkWitnesses),
	)
}

func each[T any](list []Value[T], check func(*T) error) error {
	for i := range list {
		if err := one(&list[i], check); err != nil {
			return err
		}
	}
	return nil
}

func one[T any](v *Value[T], check func(*T) error) error {
	if v.Origin.Line == 0 {
		return nil
	}
	if err := check(&v.Value); err != nil {
		return lineError(v.Origin.Line, err.Error())
	}
	return nil
}

func oneOf(words ...string) func(*string) error {
	return func(s *string) error {
		if !slices.Contains(words, *s) {
			return fmt.Errorf("%q is neither %s", cut(*s), strings.Join(words, " nor "))
		}
		return nil
	}
}

func checkEgress(e *Egress) error {
	if e.Host == "" || len(e.Host) > 255 {
		return errors.New("an egress rule needs a host")
	}
	for _, p := range e.Ports {
		if p < 1 || p > 65535 {
			return fmt.Errorf("port %d is not between 1 and 65535", p)
		}
	}
	for _, a := range e.Addresses {
		_, err := netip.ParseAddr(a)
		if _, perr := netip.ParsePrefix(a); err != nil && perr != nil {
			return fmt.Errorf("%q is neither an address nor a range of them (10.0.0.0/8)", cut(a))
		}
	}
	if e.Protocol == "" {
		return nil
	}
	return oneOf("tls", "http", "tcp")(&e.Protocol)
}

func checkService(v *Service) error {
	if !serviceName().MatchString(v.Name) {
		return fmt.Errorf("%q cannot be the name of a service (letters, digits, hyphens)", cut(v.Name))
	}
	host, port, err := net.SplitHostPort(v.Address)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || host == "" || n < 1 || n > 65535 {
		return fmt.Errorf("%q is not an address (host:port)", cut(v.Address))
	}
	return nil
}

func checkEnv(s *string) error {
	name, value, _ := strings.Cut(*s, "=")
	if !envName().MatchString(name) || strings.ContainsRune(value, 0) {
		return fmt.Errorf("%q is not NAME or NAME=VALUE", cut(*s))
	}
	return nil
}

// checkHide keeps to paths below the workspace: hiding anything else would be
// a promise about files that the desk does not have anyway.
func checkHide(s *string) error {
	if !filepath.IsLocal(*s) || filepath.Clean(*s) != *s || *s == "." {
		return fmt.Errorf("%q is not a clean path below the workspace", cut(*s))
	}
	return nil
}

// checkTool takes the names clients give their tools, and a * at the end.
func checkTool(s *string) error {
	if !toolName().MatchString(*s) {
		return fmt.Errorf("%q is not the name of a tool, such as mcp__server__tool or mcp__server__*", cut(*s))
	}
	return nil
}

func checkCache(s *string) error {
	if !cacheName().MatchString(*s) {
		return fmt.Errorf("%q is not the name of a cache", cut(*s))
	}
	return nil
}

func checkProxy(s *string) error {
	u, err := url.Parse(*s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is not a proxy (http://host:port)", cut(*s))
	}
	return nil
}

func checkEndpoint(s *string) error {
	u, err := url.Parse(*s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is not an endpoint (https://host)", cut(*s))
	}
	return nil
}

func (s Source) checkKey(k *Key) error {
	said := 0
	for _, is := range []bool{k.Env != "", k.File != "", len(k.Command) > 0} {
		if is {
			said++
		}
	}
	switch {
	case said != 1:
		return errors.New("a key comes from one place: env, file or command")
	case k.Env != "" && !envName().MatchString(k.Env):
		return fmt.Errorf("%q is not the name of a variable", cut(k.Env))
	case k.File != "":
		return s.resolve(&k.File)
	}
	return nil
}

func checkIdentity(i *Identity) error {
	if i.Name == "" || i.Email == "" || strings.ContainsAny(i.Name+i.Email, "<>\n\x00") {
		return errors.New("an identity has a name and an email")
	}
	return nil
}

func (s Source) checkSigning(v *Signing) error {
	if len(v.Command) == 0 || v.Command[0] == "" || v.PublicKey == "" {
		return errors.New("signing needs a command and public_key, the file of its public key")
	}
	return s.resolve(&v.PublicKey)
}

// maxWitnesses bounds how many are asked at each checkpoint.
const maxWitnesses = 16

func checkWitnesses(w *Witnesses) error {
	if len(w.List) == 0 || len(w.List) > maxWitnesses {
		return fmt.Errorf("witnesses need a list of 1 to %d", maxWitnesses)
	}
	for i, one := range w.List {
		if strings.Count(one.Key, "+") < 2 || strings.ContainsAny(one.Key, " \t\r\n") {
			return fmt.Errorf("%q is not the key of a witness (name+hash+key)", cut(one.Key))
		}
		u, err := url.Parse(one.URL)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("%q is not where a witness is (https://host/path)", cut(one.URL))
		}
		for _, other := range w.List[:i] {
			if other.Key == one.Key {
				return fmt.Errorf("the witness %s is there twice", cut(one.Key))
			}
		}
	}
	if w.Quorum < 0 || w.Quorum > len(w.List) {
		return fmt.Errorf("a quorum of %d among %d witnesses", w.Quorum, len(w.List))
	}
	if w.Missing == "" {
		return nil
	}
	return oneOf("tell", "refuse")(&w.Missing)
}
