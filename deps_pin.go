//go:build pin

package carrel

import (
	_ "github.com/aymanbagabas/go-udiff"
	_ "github.com/elastic/go-seccomp-bpf"
	_ "github.com/google/nftables"
	_ "github.com/landlock-lsm/go-landlock/landlock"
	_ "github.com/miekg/dns"
	_ "github.com/open-policy-agent/opa/v1/rego"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/spf13/cobra"
	_ "github.com/vishvananda/netlink"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/mod/sumdb/note"
	_ "golang.org/x/mod/sumdb/tlog"
	_ "golang.org/x/net/http2"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/term"
	_ "golang.org/x/text/unicode/norm"
)
