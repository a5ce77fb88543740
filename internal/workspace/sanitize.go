package workspace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// sanitize makes sure that the agent sees no credential in the configuration
// files of the repository's git directory: where there is one, a copy without
// it is put into the layer.
func (s *Seat) sanitize(l *Layer) error {
	prefix := ""
	if l.Name != layerGit {
		prefix = gitName
		if s.ws.repo != nil {
			prefix = strings.TrimPrefix(s.ws.repo.Dir, s.ws.root+"/")
		}
		if s.ws.linked() || s.layerOf(prefix) != l {
			return nil // the layer that holds it is cleaned by itself
		}
		prefix = l.inside(prefix)
	}
	lower, err := openRoot(l.Lower)
	if err != nil {
		return err
	}
	defer unix.Close(lower)
	layer, err := openRoot(l.private())
	if err != nil {
		return err
	}
	defer unix.Close(layer)
	clean := func(rels []string, without func(string) string) error {
		for _, rel := range rels {
			if err := s.sanitizeFile(l, lower, layer, rel, without); err != nil {
				return fmt.Errorf("%s: %w", rel, err)
			}
		}
		return nil
	}
	configs, logs := gitConfigs(lower, prefix)
	remotes := append(filesBelow(lower, path.Join(prefix, "remotes")), filesBelow(lower, path.Join(prefix, "branches"))...)
	return errors.Join(
		clean(withIncluded(lower, prefix, configs), withoutCredentials),
		clean([]string{path.Join(prefix, "credentials")}, func(string) string { return "" }),
		clean(append(remotes, gitLogs(lower, logs)...), withoutUserinfo),
	)
}

func (l *Layer) private() string {
	if l.Copy != "" {
		return l.Copy
	}
	return l.Upper
}

// maxGitConfig bounds a configuration file, which is read whole.
const maxGitConfig = 1 << 20

// maxGitLog bounds a reference log; a longer one is not shown.
const maxGitLog = 16 << 20

var errLongLog = errors.New("a long log")

// maxConfigs bounds the configuration files of submodules and work trees.
const maxConfigs = 1000

// gitConfigs lists the configuration files below a git directory, and the
// directories of its reference logs: its own, and those of submodules and work
// trees.
func gitConfigs(root int, prefix string) (configs, logs []string) {
	configs = []string{path.Join(prefix, "config"), path.Join(prefix, "config.worktree")}
	logs = []string{path.Join(prefix, "logs")}
	var look func(dir string, depth int)
	look = func(dir string, depth int) {
		fd, err := openBeneath(root, dir, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil || depth > 8 {
			return
		}
		defer unix.Close(fd)
		names, _ := readNames(fd, maxConfigs)
		isGit := slices.Contains(names, "HEAD") // else its names are those of submodules, which may be any
		for _, name := range names {
			switch {
			case len(configs) > maxConfigs:
			case isGit && (name == "objects" || name == "refs" || name == "hooks"):
			case isGit && name == "logs":
				logs = append(logs, path.Join(dir, name))
			case name == "config" || name == "config.worktree":
				configs = append(configs, path.Join(dir, name))
			default:
				look(path.Join(dir, name), depth+1)
			}
		}
	}
	look(path.Join(prefix, "modules"), 0)
	look(path.Join(prefix, "worktrees"), 0)
	return configs, logs
}

// withIncluded adds the files of the git directory that configurations include,
// as git does it ten deep. Elsewhere in the tree a file is one of the user's,
// and beyond it nothing is shown.
func withIncluded(root int, prefix string, configs []string) []string {
	from := configs
	for depth := 0; depth < 10 && len(from) > 0; depth++ {
		var next []string
		for _, rel := range from {
			text, _, err := readBeneath(root, rel)
			if err != nil {
				continue // said when it is cleaned
			}
			for _, m := range includedPath().FindAllStringSubmatch(text, maxConfigs) {
				at := path.Join(path.Dir(rel), strings.TrimSpace(m[1]))
				if len(configs) < maxConfigs && (prefix == "" || strings.HasPrefix(at, prefix+"/")) && filepath.IsLocal(at) && !slices.Contains(configs, at) {
					configs, next = append(configs, at), append(next, at)
				}
			}
		}
		from = next
	}
	return configs
}

// gitLogs lists the reference logs of which there is anything to take out: git
// notes there what a pull was called with, its URL as it was typed. A pull
// moves HEAD, so that its log tells whether there was one.
func gitLogs(root int, dirs []string) (out []string) {
	for _, logs := range dirs {
		text, _, err := readBeneath(root, path.Join(logs, "HEAD"))
		if err == nil && withoutUserinfo(text) == text || errors.Is(err, os.ErrNotExist) {
			continue
		}
		out = append(out, filesBelow(root, logs)...)
	}
	return out
}

// filesBelow lists what is no directory below dir.
func filesBelow(root int, dir string) (out []string) {
	var look func(rel string, depth int)
	look = func(rel string, depth int) {
		fd, err := openBeneath(root, rel, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil && rel != dir && len(out) <= maxConfigs {
			out = append(out, rel)
		}
		if err != nil || depth > 8 {
			return
		}
		defer unix.Close(fd)
		names, _ := readNames(fd, maxConfigs)
		for _, name := range names {
			look(path.Join(rel, name), depth+1)
		}
	}
	look(dir, 0)
	return out
}

func (s *Seat) sanitizeFile(l *Layer, lower, layer int, rel string, without func(string) string) error {
	from := lower
	if l.Copy != "" {
		from = layer
	}
	text, mode, err := readBeneath(from, rel)
	if errors.Is(err, errLongLog) {
		text, err, without = "long", nil, func(string) string { return "" }
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	clean := without(text)
	if clean == text {
		return nil
	}
	dir, err := makeDirsBeneath(layer, path.Dir(rel), lower, s.meta.UID, s.meta.GID)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil // the agent put something else there: what is below is hidden
	}
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return s.place(dir, path.Base(rel), clean, mode, l.Copy != "")
}

// place writes a file for the agent. Without replace, one that is there stays.
func (s *Seat) place(dir int, name, text string, mode uint32, replace bool) error {
	if replace {
		if err := unix.Unlinkat(dir, name, 0); err != nil && err != unix.ENOENT {
			return err
		}
	}
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err == unix.EEXIST {
		return nil
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return giveTo(dir, name, mode, s.meta.UID, s.meta.GID)
}

// readBeneath reads a small regular file.
func readBeneath(root int, rel string) (text string, mode uint32, err error) {
	var st unix.Stat_t
	if err := statBeneath(root, rel, &st); err != nil {
		return "", 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", 0, os.ErrNotExist
	}
	fd, err := openBeneath(root, rel, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return "", 0, err
	}
	f := os.NewFile(uintptr(fd), rel)
	defer f.Close()
	limit, long := int64(maxGitConfig), ErrRefused
	if slices.Contains(strings.Split(rel, "/"), "logs") {
		limit, long = maxGitLog, errLongLog
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("longer than %d bytes: %w", limit, long)
	}
	return string(b), st.Mode & 0o7777, err
}

var (
	includedPath = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?im)^\s*(?:\[\s*include[^\n]*\]\s*)?path\s*=\s*"?([^"\n#;]+)`)
	})
	configSection = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\s*\[\s*([A-Za-z0-9.-]+)[^\]\n]*(?:"(?:[^"\\\n]|\\.)*")?\s*\]`)
	})
	secretKey = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)^\s*(?:\[[^\n]*\]\s*)?(extraheader|smtppass|password|passwd|passphrase|token|oauthtoken|authtoken|accesstoken|apikey|secret|cookiefile|sslcert|sslkey|proxysslkey|proxysslcert|sslcertpasswordprotected)\s*=`)
	})
	webUserinfo = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)\b((?:https?|ftps?|socks[45]?[ah]?)://)[^/\s]*@`)
	})
	sshPassword = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)\b((?:ssh|git\+ssh|ssh\+git|sftp)://[^/:\s@]*):[^/\s]*@`)
	})
)

// withoutCredentials removes from a git configuration what opens doors: the
// credential sections, headers and passwords, and what stands before the @ of
// a URL. Everything else stays as it is, byte for byte.
func withoutCredentials(text string) string {
	var out strings.Builder
	credential := false
	for _, line := range logicalLines(text) {
		if m := configSection().FindStringSubmatch(line); m != nil {
			name, _, _ := strings.Cut(strings.ToLower(m[1]), ".")
			credential = name == "credential"
		}
		if credential || secretKey().MatchString(line) {
			if m := configSection().FindString(line); m != "" && !credential {
				out.WriteString(m + "\n")
			}
			continue
		}
		joined := strings.NewReplacer("\\\n", "", "\\\r\n", "").Replace(line)
		safe := withoutUserinfo(joined)
		if safe == joined {
			safe = line
		}
		out.WriteString(safe)
	}
	return out.String()
}

// withoutUserinfo removes names and passwords from URLs.
func withoutUserinfo(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	lines := strings.SplitAfter(s, "\n")
	for i, l := range lines {
		if strings.Contains(l, "://") {
			lines[i] = sshPassword().ReplaceAllString(webUserinfo().ReplaceAllString(l, "$1"), "$1@")
		}
	}
	return strings.Join(lines, "")
}

// logicalLines splits after newlines that no backslash escapes, so that a
// value cannot hide by being continued. In comments nothing is escaped.
func logicalLines(text string) []string {
	var out []string
	start, quoted, comment := 0, false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n':
			out = append(out, text[start:i+1])
			start, quoted, comment = i+1, false, false
		case comment:
		case c == '\\':
			if i++; strings.HasPrefix(text[min(i, len(text)):], "\r\n") {
				i++
			}
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '#' || c == ';'):
			comment = true
		}
	}
	if start < len(text) {
		out = append(out, text[start:])
	}
	return out
}
