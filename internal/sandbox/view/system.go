package view

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// programDirs are the host's program directories: what the system's packages
// installed, readable by everybody.
var programDirs = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt",
	"/nix/store", "/nix/var/nix/profiles", "/gnu/store", "/run/current-system", "/snap",
}

// system shows the host's program directories, or the links that stand in
// their place.
func (b *builder) system() {
	for _, dir := range programDirs {
		if target, err := os.Readlink(dir); err == nil {
			b.add(sandbox.Mount{Kind: sandbox.MountSymlink, Target: dir, Source: target})
			continue
		}
		if fi, err := os.Lstat(dir); err == nil && fi.IsDir() {
			b.programs(dir)
		}
	}
}

// programs shows a program directory. One that holds the home or Carrel's
// state (a service whose home is below /opt) is shown without them: what is
// beside them, level by level.
func (b *builder) programs(dir string) {
	if !b.holdsOwn(dir) {
		b.tree(dir, "programs of the system")
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); e.IsDir() && path != b.Home && !slices.Contains(b.State, path) {
			b.programs(path)
		}
	}
}

func (b *builder) holdsOwn(dir string) bool {
	return b.Home != "" && within(b.Home, dir) || slices.ContainsFunc(b.State, func(s string) bool { return within(s, dir) })
}

// etcPaths are what programs need of /etc and anybody may read. No
// configuration of accounts, mail, package sources or services is among them.
var etcPaths = []string{
	"alternatives", "ld.so.cache", "ld-musl-x86_64.path", "ld-musl-aarch64.path",
	"ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf", "pki/ca-trust/extracted", "crypto-policies",
	"localtime", "timezone", "os-release", "lsb-release", "debian_version", "redhat-release", "alpine-release",
	"mime.types", "magic", "services", "protocols", "locale.alias", "locale.conf", "default/locale", "inputrc",
	"fonts", "java", "java-8-openjdk", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk", "java-25-openjdk", "maven", "static",
}

// etc lays an /etc of its own: a few paths of the host and files made here.
func (b *builder) etc() {
	for _, name := range etcPaths {
		b.systemFile("/etc/" + name)
	}
	for _, f := range b.ownFiles() {
		b.file("/etc/"+f.name, f.content, f.why)
	}
	b.add(sandbox.Mount{Kind: sandbox.MountSymlink, Target: "/etc/mtab", Source: "/proc/self/mounts"})
	b.configurations()
}

// systemFile shows one path of /etc: a link where what it leads to is visible
// anyway, the content of a small file, else a mount.
func (b *builder) systemFile(path string) {
	fi, err := os.Lstat(path)
	if err != nil {
		return
	}
	final := path
	if fi.Mode()&os.ModeSymlink != 0 {
		if _, final, err = walk(path); err != nil {
			return
		}
		if b.visible(final) {
			b.add(sandbox.Mount{Kind: sandbox.MountSymlink, Target: path, Source: final})
			return
		}
	}
	if !b.copied(final, path, "") {
		b.trees = append(b.trees, path)
		b.add(sandbox.Mount{Kind: sandbox.MountBind, Source: final, Target: path})
	}
}
