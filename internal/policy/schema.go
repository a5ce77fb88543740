package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/carrel-dev/carrel"
)

// Bounds of an input. The kernel takes no longer path, and 256 KiB of
// arguments is more than people review.
const (
	maxPath  = 4096
	maxHost  = 253
	maxURL   = 64 << 10
	maxTexts = 256 << 10
)

var (
	protocols = []carrel.Protocol{carrel.ProtoTLS, carrel.ProtoHTTP, carrel.ProtoTCP, carrel.ProtoDNS}
	targets   = []string{carrel.TargetTree, carrel.TargetBranch}
)

// checkAction returns a *badInput if a is not what its operation needs.
func checkAction(a carrel.Action) error {
	switch a.Operation {
	case carrel.OpRead, carrel.OpWrite, carrel.OpDelete:
		return checkFile(a)
	case carrel.OpExec:
		return checkExec(a)
	case carrel.OpResolve, carrel.OpConnect, carrel.OpRequest:
		return checkDestination(a)
	case carrel.OpExpose:
		return cmp.Or(checkDestination(a), checkSubject(a))
	case carrel.OpCredential:
		return checkCredential(a)
	case carrel.OpTool, carrel.OpRevoke:
		return checkSubject(a)
	case carrel.OpPublish:
		return checkPublication(a.Publication)
	case carrel.OpApprove, carrel.OpDeny:
		return checkAnswer(a)
	case carrel.OpAttest:
		return checkAttestation(a)
	case carrel.OpFreeze, carrel.OpPolicy:
		return checkReason(a)
	}
	return &badInput{"operation", fmt.Sprintf("%.40q is not known", a.Operation)}
}

func checkFile(a carrel.Action) error {
	if a.Path == "" {
		return &badInput{"path", "is missing"}
	}
	if err := checkPath(a.Path); err != nil {
		return err
	}
	if len(a.RawPath) > maxPath {
		return &badInput{"raw_path", fmt.Sprintf("is longer than %d bytes", maxPath)}
	}
	return nil
}

func checkPath(p string) error {
	switch {
	case len(p) > maxPath:
		return &badInput{"path", fmt.Sprintf("is longer than %d bytes", maxPath)}
	case !utf8.ValidString(p):
		return &badInput{"path", "is not valid UTF-8"}
	case p[0] != '/':
		return &badInput{"path", "is not absolute"}
	case path.Clean(p) != p:
		return &badInput{"path", "is unclean (.., ., // or a trailing slash); links must be resolved first"}
	case strings.ContainsFunc(p, unicode.IsControl):
		return &badInput{"path", "holds control characters"}
	case !norm.NFC.IsNormalString(p):
		return &badInput{"path", "is not in Unicode normal form C"}
	}
	return nil
}

func checkExec(a carrel.Action) error {
	total := len(a.Cwd)
	for _, arg := range a.Argv {
		total += len(arg)
	}
	switch {
	case len(a.Argv) == 0 || a.Argv[0] == "":
		return &badInput{"argv", "names no program"}
	case total > maxTexts || len(a.Argv) > 1<<14:
		return &badInput{"argv", fmt.Sprintf("is longer than %d bytes or %d words", maxTexts, 1<<14)}
	case a.Path != "":
		return checkPath(a.Path)
	}
	return nil
}

func checkDestination(a carrel.Action) error {
	if err := checkHost(a.Host); err != nil {
		return err
	}
	if a.Operation == carrel.OpResolve {
		return nil
	}
	switch {
	case !slices.Contains(protocols, a.Protocol): // of a packet that the desk's network refused by itself, say
		return &notCarried{badInput{"protocol", fmt.Sprintf("%.40q is not carried: only TCP leaves a desk (as tls, http or tcp), and no rule can allow more", a.Protocol)}}
	case a.Port < 1 || a.Port > 65535:
		return &badInput{"port", "is not between 1 and 65535"}
	case a.Operation == carrel.OpConnect || a.Operation == carrel.OpExpose:
		return nil
	case a.Method == "" || strings.ContainsFunc(a.Method, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' }):
		return &badInput{"method", "is not in upper case"}
	case !strings.HasPrefix(string(a.URL), "/") && a.URL != "*":
		return &badInput{"url", "does not start with a slash"}
	case len(a.URL) > maxURL:
		return &badInput{"url", fmt.Sprintf("is longer than %d bytes", maxURL)}
	case a.BodySize < -1:
		return &badInput{"body_size", "is negative"}
	case slices.ContainsFunc(a.Headers, notLower):
		return &badInput{"headers", "are names in lower case"}
	case notLower(a.Upgrade):
		return &badInput{"upgrade", "is not in lower case"}
	}
	return nil
}

func notLower(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r >= 'A' && r <= 'Z' })
}

// checkCredential accepts a lease, which has no destination, and a use, which
// is of a request.
func checkCredential(a carrel.Action) error {
	if err := checkSubject(a); err != nil || a.Host == "" {
		return err
	}
	return checkDestination(a)
}

// checkHost accepts names in lower case without a trailing dot, as resolvers
// look them up, and addresses in their one usual spelling.
func checkHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.String() != host || addr.Zone() != "" || addr.Is4In6() {
			return &badInput{"host", "is an address in an unusual spelling"}
		}
		return nil
	}
	switch {
	case host == "":
		return &badInput{"host", "is missing"}
	case len(host) > maxHost:
		return &badInput{"host", fmt.Sprintf("is longer than %d bytes", maxHost)}
	case strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, ".."):
		return &badInput{"host", "has an empty label"}
	case strings.ContainsFunc(host, notInName):
		return &badInput{"host", "holds characters that no host name has; names are in lower case"}
	case numeric(host[strings.LastIndexByte(host, '.')+1:]):
		return &badInput{"host", "ends in a number, which some programs read as an address"}
	}
	return nil
}

// numeric reports whether a last label makes an address of the whole name for
// programs that accept old spellings such as 127.1 and 0x7f.0x1.
func numeric(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
}

func checkSubject(a carrel.Action) error {
	if a.Subject == "" {
		return &badInput{"subject", "is missing"}
	}
	return checkReason(a)
}

func checkReason(a carrel.Action) error {
	if len(a.Subject)+len(a.Reason) > maxURL {
		return &badInput{"reason", fmt.Sprintf("is longer than %d bytes", maxURL)}
	}
	return nil
}

func checkAnswer(a carrel.Action) error {
	if _, err := carrel.ParseDigest(string(a.SubjectDigest)); err != nil {
		return &badInput{"subject_digest", "is not a digest: an answer is bound to exactly one action"}
	}
	return checkSubject(a)
}

// maxStatements is more than one attestation of a change holds.
const maxStatements = 16

func checkAttestation(a carrel.Action) error {
	t := a.Attestation
	if t == nil || len(t.Statements) == 0 || len(t.Statements) > maxStatements {
		return &badInput{"attestation", fmt.Sprintf("does not name between 1 and %d statements", maxStatements)}
	}
	if _, err := carrel.ParseDigest(string(t.Key)); err != nil {
		return &badInput{"attestation.key", "is not the digest of a key"}
	}
	for _, s := range t.Statements {
		if _, err := carrel.ParseDigest(string(s.Digest)); err != nil {
			return &badInput{"attestation.statements", "names one that is not a digest"}
		}
		if s.Type == "" || len(s.Type) > maxPath || strings.ContainsFunc(s.Type, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return &badInput{"attestation.statements", "names a type that is not a URI"}
		}
	}
	return checkSubject(a)
}

func checkPublication(p *carrel.Publication) error {
	switch {
	case p == nil:
		return &badInput{"publication", "is missing"}
	case carrel.CheckID(string(p.Change), "chg_") != nil:
		return &badInput{"publication.change", "is not the identifier of a change"}
	case !slices.Contains(targets, p.Target):
		return &badInput{"publication.target", fmt.Sprintf("%.40q is not known", p.Target)}
	case p.Files < 0 || p.Withheld < 0:
		return &badInput{"publication.files", "is negative"}
	}
	if _, err := carrel.ParseDigest(string(p.Digest)); err != nil {
		return &badInput{"publication.digest", "is not a digest"}
	}
	for name := range p.Risk.Counts {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return &badInput{"publication.risk.counts", "names a label in other than printable ASCII"}
		}
	}
	return nil
}
