package view

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// passed are the variables of the host that are handed in: how the terminal
// looks, what language is spoken, and settings of tools that name no place of
// the host. A name that ends in * stands for all that begin so.
var passed = []string{
	"TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "VTE_VERSION", "COLORFGBG", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE",
	"LANG", "LANGUAGE", "LC_*", "TZ", "LS_COLORS", "GREP_COLORS", "LESS", "EDITOR", "VISUAL", "PAGER", "GIT_PAGER",
	"CI", "DEBIAN_FRONTEND", "SOURCE_DATE_EPOCH", "MAKEFLAGS", "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS",
	"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GONOPROXY", "GOFLAGS", "GOTOOLCHAIN", "GOOS", "GOARCH", "CGO_ENABLED", "GOAMD64", "GOEXPERIMENT",
	"NODE_ENV", "NPM_CONFIG_REGISTRY", "npm_config_registry", "COREPACK_ENABLE_DOWNLOAD_PROMPT", "RUSTFLAGS", "RUST_BACKTRACE", "RUST_LOG", "RUSTUP_TOOLCHAIN",
	"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYENV_VERSION", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DISABLE_PIP_VERSION_CHECK", "UV_INDEX_URL",
	"JAVA_HOME", "RAILS_ENV", "RACK_ENV",
}

// environment computes the variables: what the host has of the table above,
// what this package sets, what the profile sets, what the user gave; each
// later one wins.
func (b *builder) environment() {
	vars := map[string]string{}
	for name, value := range b.env {
		if !isPassed(name) {
			continue
		}
		if looksSecret(name, value) {
			b.warn("%s is not handed in: its value looks like a secret; --env %s hands it in", name, name)
			continue
		}
		vars[name] = value
	}
	maps.Copy(vars, b.set)
	maps.Copy(vars, b.ownVariables())
	for _, kv := range b.ProfileEnv {
		if name, value, ok := strings.Cut(kv, "="); ok {
			vars[name] = value
		}
	}
	for name, value := range b.asked {
		if name == "PATH" {
			continue
		}
		vars[name] = value
		if looksSecret(name, value) {
			b.plan.Handed = append(b.plan.Handed, name)
		}
	}
	slices.Sort(b.plan.Handed)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		b.plan.Env = append(b.plan.Env, name+"="+vars[name])
	}
}

func isPassed(name string) bool {
	return slices.ContainsFunc(passed, func(p string) bool {
		prefix, wild := strings.CutSuffix(p, "*")
		return name == p || wild && strings.HasPrefix(name, prefix)
	})
}

func (b *builder) ownVariables() map[string]string {
	shell := "/bin/sh"
	if exists("/bin/bash") {
		shell = "/bin/bash"
	}
	vars := map[string]string{
		"PATH": strings.Join(b.path, ":"), "HOME": b.plan.Home, "USER": b.userName(), "LOGNAME": b.userName(),
		"SHELL": shell, "TMPDIR": "/tmp", "CARREL": "1", "CARREL_BRIEFING": briefingPath,
	}
	if _, ok := b.env["LANG"]; !ok {
		vars["LANG"] = "C.UTF-8"
	}
	if b.Notices != "" {
		vars["CARREL_NOTICES"] = NoticesPath
	}
	return vars
}

// certificateVariables name files of authorities: an organisation's own roots
// are configuration of the host that programs inside need too.
var certificateVariables = []string{
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO",
	"AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "NIX_SSL_CERT_FILE",
}

// maxBundle bounds a file of authorities.
const maxBundle = 4 << 20

func (b *builder) certificates() {
	for _, name := range certificateVariables {
		path := b.env[name]
		if !filepath.IsAbs(path) {
			continue
		}
		final, err := b.follow(filepath.Clean(path))
		if err != nil {
			continue
		}
		if !b.visible(final) && !b.showBundle(final) {
			b.warn("%s is not handed in: %s is no bundle of certificates that may be shown", name, path)
			continue
		}
		b.set[name] = path
	}
}

// showBundle shows a file of certificates, unless it holds a key too.
func (b *builder) showBundle(path string) bool {
	fi, err := os.Stat(path)
	if err != nil || b.refuse(path) != nil {
		return false
	}
	if fi.IsDir() {
		b.tree(path, "authorities of the host")
		return true
	}
	content, err := os.ReadFile(path)
	if err != nil || fi.Size() > maxBundle || !strings.Contains(string(content), "-----BEGIN CERTIFICATE") || strings.Contains(string(content), "PRIVATE KEY") {
		return false
	}
	b.tree(path, "authorities of the host")
	return true
}
