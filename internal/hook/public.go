package hook

import (
	"os"
	"path"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// programs are directories that every desk sees read-only: looking into them
// is not put to the policy.
var programs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/System", "/Library/Developer", "/c:/program files"}

// systemFiles say what machine this is and whom it trusts. A desk has them,
// too; accounts, names of other machines and settings of services it has not.
var systemFiles = []string{
	"/etc/os-release", "/etc/lsb-release", "/etc/debian_version", "/etc/alpine-release", "/etc/redhat-release",
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/etc/alternatives",
	"/etc/mime.types", "/etc/services", "/etc/protocols", "/etc/localtime", "/etc/timezone",
	"/proc/cpuinfo", "/proc/meminfo", "/proc/version", "/proc/loadavg", "/proc/uptime",
}

// open reports a place that is read without asking: programs, what is public
// of the system, passing files, and what the client writes down for itself.
func (p Place) open(path string) bool {
	folded := strings.ToLower(path)
	return slices.ContainsFunc(programs, func(dir string) bool { return strings.HasPrefix(folded, strings.ToLower(dir)+"/") }) ||
		slices.ContainsFunc(systemFiles, func(name string) bool { return path == name || strings.HasPrefix(path, name+"/") }) ||
		p.passing(path) || p.own(path)
}

// passing reports a file in a temporary directory that every user of the
// machine may read: what is meant for one user only, such as tickets and keys,
// is kept from the others, and so from here. A directory is none, for who
// looks through it reads such files too.
func (p Place) passing(name string) bool {
	rest, ok := p.belowTemp(name)
	if !ok || slices.ContainsFunc(strings.Split(rest, "/"), func(part string) bool { return strings.HasPrefix(part, ".") }) {
		return false
	}
	info, err := os.Lstat(name) // links are resolved already
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o004 == 0 || p.credential(rest) {
		return false
	}
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		if info, err := os.Lstat(dir); err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return true
}

func (p Place) credential(name string) bool {
	return p.Labels != nil && slices.ContainsFunc(p.Labels(name, nil), func(l carrel.Label) bool { return l.Name == "credential-file" })
}

// belowTemp is the path below the system's temporary directory or the user's own.
func (p Place) belowTemp(name string) (string, bool) {
	for _, dir := range []string{p.Temp, "/tmp"} {
		if dir == "" {
			continue
		}
		if rest, ok := strings.CutPrefix(name, slashed(resolved(dir))+"/"); ok {
			return rest, true
		}
	}
	return "", false
}

// own reports the client's own notes in the home, such as its plans, and its
// scratch files of a session.
func (p Place) own(path string) bool {
	if rest, ok := p.belowTemp(path); ok && p.Client.scratch != nil && p.Client.scratch(strings.Split(rest, "/")) {
		return true
	}
	if p.Home == "" || p.Client.dir == "" {
		return false
	}
	below, ok := strings.CutPrefix(path, slashed(resolved(p.Home))+"/"+p.Client.dir+"/")
	return ok && p.Client.notes(strings.Split(below, "/"))
}
