package view

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Where the certificates lie inside that programs trust in this run.
const (
	bundlePath    = "/run/carrel/certificates.pem" // the host's authorities and the run's own
	authorityPath = "/run/carrel/authority.pem"    // the run's own, and what NODE_EXTRA_CA_CERTS named
)

// systemBundles are where systems keep all their authorities in one file.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

// bundleVariables name all the authorities a program trusts; extraVariables
// those it trusts besides its own.
var (
	bundleVariables = []string{
		"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "NIX_SSL_CERT_FILE",
	}
	extraVariables = []string{"NODE_EXTRA_CA_CERTS", "DENO_CERT"}
)

// authority lets programs trust the authority of the run: in the system's
// bundle, and by the variables that runtimes look at. What the host's own
// variables named stays trusted.
func (b *builder) authority() {
	if len(b.Authority) == 0 {
		return
	}
	own := string(b.Authority)
	all, extra := own, own
	for _, path := range slices.Compact(b.named(bundleVariables)) {
		all = join(all, bundle(path))
	}
	for _, path := range b.named(extraVariables) {
		extra = join(extra, bundle(path))
	}
	for _, path := range systemBundles {
		system := bundle(path)
		if system == "" {
			continue
		}
		if !strings.HasSuffix(all, system) {
			all = join(all, system)
		}
		// Programs that look nowhere else. A link leads to where the file is.
		if final, err := filepath.EvalSymlinks(path); err == nil {
			b.file(final, join(own, system), "the system's authorities and the run's own")
		}
	}
	b.java(own)
	b.file(bundlePath, all, "authorities of the host and of the run")
	b.file(authorityPath, extra, "authority of the run")
	for _, name := range bundleVariables {
		b.set[name] = bundlePath
	}
	for _, name := range extraVariables {
		b.set[name] = authorityPath
	}
}

// named lists the files that the host's variables name and that may be shown.
func (b *builder) named(variables []string) (out []string) {
	for _, name := range variables {
		if path := b.set[name]; path != "" {
			out = append(out, path)
		}
	}
	return out
}

// bundle is the content of a file of certificates; "" if there is none.
func bundle(path string) string {
	content, err := os.ReadFile(path)
	if err != nil || len(content) > maxBundle || !bytes.Contains(content, []byte("-----BEGIN CERTIFICATE")) {
		return ""
	}
	return string(content)
}

func join(a, b string) string {
	if !strings.HasSuffix(a, "\n") {
		a += "\n"
	}
	return a + b
}
