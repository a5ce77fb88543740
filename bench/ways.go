//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// authority makes a test authority with a certificate for the origin; the
// peers that read TLS sign with it as well.
func (b *bench) authority() (ca, cert, key string, err error) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", "", err
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: root.NotBefore, NotAfter: root.NotAfter, DNSNames: []string{originHost},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return "", "", "", err
	}
	ca, cert, key = b.path("ca.pem"), b.path("cert.pem"), b.path("key.pem")
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &signer.PublicKey, signer)
	if err != nil {
		return "", "", "", err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &signer.PublicKey, signer)
	if err != nil {
		return "", "", "", err
	}
	for path, block := range map[string]*pem.Block{ca: {Type: "CERTIFICATE", Bytes: rootDER}, cert: {Type: "CERTIFICATE", Bytes: leafDER}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o644); err != nil {
			return "", "", "", err
		}
	}
	return ca, cert, key, nil
}

// ways prepares every way to the origin that was asked for, and the direct one.
func (b *bench) ways(ws, port, ca string) []way {
	all := b.allWays(ws, port, ca)
	if b.o.ways == "" {
		return all
	}
	return slices.DeleteFunc(all, func(w way) bool {
		asked := slices.ContainsFunc(strings.Split(b.o.ways, ","), func(part string) bool { return strings.Contains(w.name, part) })
		if !asked && w.close != nil {
			w.close()
		}
		return !asked && w.name != "direct"
	})
}

func (b *bench) allWays(ws, port, ca string) []way {
	bare := b.peers(ws)[0].wrap
	return []way{
		{name: "direct", proxy: "-", host: "127.0.0.1", wrap: bare},
		b.squid("squid", bare, ca, false),
		b.tinyproxy(bare),
		b.mitmproxy("mitmproxy, passed through", bare, ca, "--ignore-hosts", ".*"),
		b.srtProxy("passed through", ws, ca, ""),
		b.desk("carrel run, passed through", ws, port, ca, ""),
		b.squid("squid, inspected", bare, ca, true),
		b.mitmproxy("mitmproxy, inspected", bare, ca),
		b.srtProxy("inspected", ws, ca, `,"tlsTerminate":{}`),
		b.desk("carrel run, inspected", ws, port, ca, ", methods: [GET]"),
	}
}

// knowing runs a command where the origin's name is known: in a mount
// namespace with a hosts file of our own.
func (b *bench) knowing(args []string) []string {
	hosts := b.path("hosts")
	_ = os.WriteFile(hosts, []byte("127.0.0.1 localhost "+originHost+"\n"), 0o644)
	return append([]string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts}, args...)
}

// desk is carrel with a rule for the origin.
func (b *bench) desk(name, ws, port, ca, more string) way {
	w := way{name: name, proxy: "-", host: originHost}
	if os.Getuid() != 0 {
		w.missing = "needs root here, to give the host a name"
		return w
	}
	dir := b.path("config-" + strings.ReplaceAll(name, " ", "-"))
	config := fmt.Sprintf("egress: [{host: %s, ports: [%s], addresses: [127.0.0.1]%s}]\nextra_roots: [%s]\n", originHost, port, more, ca)
	_ = os.MkdirAll(filepath.Join(dir, "carrel"), 0o700)
	if err := os.WriteFile(filepath.Join(dir, "carrel", "config.yaml"), []byte(config), 0o600); err != nil {
		w.missing = err.Error()
	}
	wrap := b.carrel(ws, "--ro", ca)
	w.wrap = func(args []string) once {
		o := wrap(args)
		o.Args = b.knowing(o.Args)
		o.Env = append(o.Env, "XDG_CONFIG_HOME="+dir)
		return o
	}
	return w
}

// serve starts a proxy and waits until it listens.
func (b *bench) serve(w *way, port string, args ...string) {
	w.proxy, w.host = "127.0.0.1:"+port, originHost
	args = b.knowing(args)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		w.missing = err.Error()
		return
	}
	w.close = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	if err := listening(w.proxy); err != nil {
		w.missing = err.Error()
	}
}

// freePort is a port that nobody listens on just now.
func freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "0"
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func (b *bench) squid(name string, bare func([]string) once, ca string, inspect bool) way {
	w := way{name: name, wrap: bare}
	path, missing := b.program("squid", "squid-openssl")
	if w.missing = missing; missing != "" {
		return w
	}
	port, dir := freePort(), b.path("squid-"+name[len(name)-4:])
	_ = os.MkdirAll(dir, 0o777)
	_ = os.Chmod(b.dir, 0o755)
	_ = os.Chmod(dir, 0o777)
	both := filepath.Join(dir, "both.pem")
	listen := "http_port 127.0.0.1:" + port
	if inspect {
		cert, _ := os.ReadFile(ca)
		key, _ := os.ReadFile(b.path("key.pem"))
		_ = os.WriteFile(both, append(cert, key...), 0o644)
		listen += " ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert=" + both
		if out, err := exec.Command("/usr/lib/squid/security_file_certgen", "-c", "-s", filepath.Join(dir, "db"), "-M", "4MB").CombinedOutput(); err != nil {
			w.missing = tail(string(out))
			return w
		}
		_ = exec.Command("chown", "-R", "proxy", dir).Run()
		listen += "\nssl_bump bump all\ntls_outgoing_options cafile=" + ca + " flags=DONT_VERIFY_DOMAIN\n" +
			"sslcrtd_program /usr/lib/squid/security_file_certgen -s " + filepath.Join(dir, "db") + " -M 4MB"
	}
	config := filepath.Join(dir, "squid.conf")
	text := listen + "\nhosts_file " + b.path("hosts") + "\nhttp_access allow all\ncache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\nshutdown_lifetime 0 seconds\nmax_filedescriptors 4096\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		w.missing = err.Error()
		return w
	}
	b.serve(&w, port, path, "-N", "-f", config)
	return w
}

func (b *bench) tinyproxy(bare func([]string) once) way {
	w := way{name: "tinyproxy", wrap: bare}
	path, missing := b.program("tinyproxy", "tinyproxy")
	if w.missing = missing; missing != "" {
		return w
	}
	port, config := freePort(), b.path("tinyproxy.conf")
	if err := os.WriteFile(config, []byte("Port "+port+"\nListen 127.0.0.1\nTimeout 600\nMaxClients 200\nLogLevel Critical\n"), 0o644); err != nil {
		w.missing = err.Error()
		return w
	}
	b.serve(&w, port, path, "-d", "-c", config)
	return w
}

func (b *bench) mitmproxy(name string, bare func([]string) once, ca string, flags ...string) way {
	w := way{name: name, wrap: bare}
	path, missing := b.program("mitmdump", "mitmproxy")
	if w.missing = missing; missing != "" {
		return w
	}
	port, dir := freePort(), b.path("mitmproxy")
	_ = os.MkdirAll(dir, 0o755)
	cert, _ := os.ReadFile(ca)
	key, _ := os.ReadFile(b.path("key.pem"))
	if err := os.WriteFile(filepath.Join(dir, "mitmproxy-ca.pem"), append(key, cert...), 0o600); err != nil {
		w.missing = err.Error()
		return w
	}
	b.serve(&w, port, append([]string{path, "-q", "--listen-host", "127.0.0.1", "-p", port, "--set", "confdir=" + dir,
		"--set", "ssl_verify_upstream_trusted_ca=" + ca, "--set", "ssl_insecure=true", "--set", "http2=false", "--set", "stream_large_bodies=1m"}, flags...)...)
	return w
}

// srtProxy is the proxy of the npm peer, behind its walls. It lets a name lead
// to loopback only if the address is allowed as well.
func (b *bench) srtProxy(how, ws, ca, more string) way {
	p := b.srt(ws)
	w := way{name: p.name + ", " + how, missing: p.missing, proxy: "env", host: originHost}
	if w.missing == "" && os.Getuid() != 0 {
		w.missing = "needs root here, to give the host a name"
	}
	settings := b.path("srt-" + how[:4] + ".json")
	text := fmt.Sprintf(`{"network":{"allowedDomains":[%q,"127.0.0.1"],"deniedDomains":[]%s},"filesystem":{"denyRead":[],"allowWrite":["."],"denyWrite":[]}}`, originHost, more)
	if err := os.WriteFile(settings, []byte(text), 0o644); err != nil {
		w.missing = err.Error()
	}
	w.wrap = func(args []string) once {
		o := p.wrap(args)
		o.Args = b.knowing(append([]string{o.Args[0], "--settings", settings}, args...))
		o.Env = append(o.Env, "NODE_EXTRA_CA_CERTS="+ca)
		return o
	}
	return w
}
