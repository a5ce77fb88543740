package view

import (
	"fmt"
	"strconv"
	"strings"
)

type ownFile struct{ name, content, why string }

// ownFiles are the files of /etc that are made here: who one is, how names
// are found, and a shell that keeps the PATH it is given.
func (b *builder) ownFiles() []ownFile {
	return []ownFile{
		{"passwd", b.passwd(), "this user only"},
		{"group", b.group(), ""},
		{"hosts", "127.0.0.1 localhost carrel\n::1 localhost ip6-localhost\n", ""},
		{"hostname", "carrel\n", ""},
		{"resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n", "names are answered by Carrel"},
		{"nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n", ""},
		{"host.conf", "multi on\n", ""},
		{"shells", "/bin/sh\n/bin/bash\n", ""},
		{"profile", "# The PATH is the one the desk was given.\n[ -n \"$BASH\" ] && [ -f /etc/bash.bashrc ] && . /etc/bash.bashrc\n", ""},
		{"bash.bashrc", "[ -n \"$PS1\" ] && PS1='[desk] \\w\\$ '\n", ""},
	}
}

func (b *builder) userName() string {
	name := b.UserName
	if name == "" || name == "root" || strings.ContainsAny(name, ":\n/ ") {
		return "desk"
	}
	return name
}

func (b *builder) passwd() string {
	return fmt.Sprintf("root:x:0:0:root:/root:/sbin/nologin\n%s:x:%d:%d::%s:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
		b.userName(), b.UID, b.GID, b.plan.Home)
}

func (b *builder) group() string {
	return fmt.Sprintf("root:x:0:\ntty:x:5:\n%s:x:%d:\nnogroup:x:65534:\n", b.userName(), b.GID)
}

// gitconfig gives an identity and trusts every owner: nothing of anybody
// else's is inside.
func (b *builder) gitconfig() string {
	var s strings.Builder
	if b.GitName != "" || b.GitEmail != "" {
		fmt.Fprintf(&s, "[user]\n\tname = %s\n\temail = %s\n", gitQuote(b.GitName), gitQuote(b.GitEmail))
	}
	s.WriteString("[safe]\n\tdirectory = *\n[init]\n\tdefaultBranch = main\n[core]\n\tcheckStat = minimal\n\ttrustctime = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n")
	return s.String()
}

func gitQuote(v string) string {
	v = strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, v)
	return strings.ReplaceAll(strconv.Quote(v), `\u`, `\\u`)
}
