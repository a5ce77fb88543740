//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
)

// adopt copies an installed project into the host's repository and commits it.
func (h *host) adopt(dir string) {
	h.Helper()
	if out, err := exec.Command("cp", "-r", dir+"/.", h.repo).CombinedOutput(); err != nil {
		h.Fatalf("copying the project: %v: %s", err, out)
	}
	if out, err := exec.Command("chmod", "-R", "u+w", h.repo).CombinedOutput(); err != nil {
		h.Fatalf("%v: %s", err, out)
	}
	h.giveBack()
	h.git("add", "-A")
	h.git("commit", "-q", "-m", "project")
}

func ordinaryOwner(h *host) string {
	if h.uid == 0 {
		return "0:0"
	}
	return ordinary.Uid + ":" + ordinary.Gid
}

// giveBack gives the repository back to whoever uses it: some package managers, as
// root, leave files of the owners that an archive names, which in an overlay
// nobody could remove.
func (h *host) giveBack() {
	h.Helper()
	if os.Getuid() != 0 {
		return
	}
	if out, err := exec.Command("chown", "-R", ordinaryOwner(h), h.repo).CombinedOutput(); err != nil {
		h.Fatalf("%v: %s", err, out)
	}
}

// sameInsideAsOutside runs a script outside and at a desk and wants both to
// work and to say this.
func (h *host) sameInsideAsOutside(script, says string, flags ...string) {
	h.Helper()
	h.expect(h.start("", "bash", "-c", script), 0, says)
	h.giveBack()
	h.git("clean", "-q", "-d", "-x", "-f", "-e", "node_modules")
	h.expect(h.inside(script, flags...), 0, says)
}

func TestGoProjectBuildsAndTestsInside(t *testing.T) {
	dir := installed(t, "go "+goProject, func(dir string) error {
		if err := loudly(dir, "go", "mod", "init", "fetch"); err != nil {
			return err
		}
		out, err := exec.Command("go", "mod", "download", "-json", goProject).Output()
		if err != nil {
			return &installError{"go mod download", err, string(out)}
		}
		var mod struct{ Dir string }
		if err := json.Unmarshal(out, &mod); err != nil {
			return err
		}
		_ = os.Remove(filepath.Join(dir, "go.mod"))
		return loudly(dir, "cp", "-r", mod.Dir+"/.", dir)
	})
	built := installed(t, "go build cache of "+goProject, func(cache string) error {
		return loudly(dir, "env", "GOCACHE="+cache, "bash", "-c", goWork)
	})
	asEachUser(t, func(h *host) {
		h.adopt(dir)
		h.keepCache(built, "cache/go-build")
		h.sameInsideAsOutside(goWork, "ok")
		if h.uid == 0 {
			return
		}
		// The work of the first time: thousands of programs and files.
		h.expect(h.inside(goWork, "--cache", "none"), 0, "ok")
	})
}

const goWork = "go build ./... && go vet . && go test ./... && git status --porcelain | wc -l"

// keepCache gives the host's user a cache of a package manager, below h.dir.
func (h *host) keepCache(from, to string) {
	h.Helper()
	to = filepath.Join(h.dir, to)
	if out, err := exec.Command("bash", "-c", `mkdir -p "$2" && cp -r "$1/." "$2" && chown -R "$3" "${2%/*}"`, "-", from, to, ordinaryOwner(h)).CombinedOutput(); err != nil {
		h.Fatalf("%v: %s", err, out)
	}
}

// nodeFiles are a small service whose tests start a server of their own.
var nodeFiles = map[string]string{
	"package.json": `{"name":"service","version":"1.0.0","private":true,"scripts":{"test":"node --test"},"dependencies":{"express":"4.21.2"}}`,
	"app.js":       "const express = require('express');\nconst app = express();\napp.get('/hello/:name', (q, a) => a.json({hello: q.params.name}));\nmodule.exports = app;\n",
	"app.test.js": `const test = require('node:test'), assert = require('node:assert');
const app = require('./app');
test('greets over HTTP', async () => {
  const server = app.listen(0, '127.0.0.1');
  await new Promise((r) => server.on('listening', r));
  const answer = await fetch('http://127.0.0.1:' + server.address().port + '/hello/Ada');
  assert.deepEqual(await answer.json(), {hello: 'Ada'});
  server.close();
});
`,
	".gitignore": "node_modules\n",
}

// npmCache makes a lock file and a cache from which npm works offline.
func npmCache(dir string) error {
	for name, text := range nodeFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := loudly(dir, "npm", "install", "--omit-lockfile-registry-resolved=false", "--cache", filepath.Join(dir, "npm-cache"), "--no-fund", "--no-audit"); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, "node_modules"))
}

func TestNodeProjectInstallsAndTestsInside(t *testing.T) {
	needs.Tool(t, "npm")
	dir := installed(t, "node "+nodeProject, npmCache)
	asEachUser(t, func(h *host) {
		h.adopt(dir)
		if err := os.Rename(filepath.Join(h.repo, "npm-cache"), filepath.Join(h.home, ".npm")); err != nil {
			h.Fatal(err)
		}
		h.git("add", "-A")
		h.git("commit", "-q", "-m", "cache is the user's")
		h.sameInsideAsOutside("npm ci --offline --no-audit --no-fund && npm test", "pass 1", "--cache", "npm")
	})
}

func TestPythonProjectTestsInside(t *testing.T) {
	needs.Tool(t, "/usr/bin/python3")
	asEachUser(t, func(h *host) {
		h.write("repo/calc.py", "def add(a, b):\n    return a + b\n")
		h.write("repo/test_calc.py", `import multiprocessing, socket, tempfile, threading, unittest
from calc import add

class Test(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(1, 2), 3)

    def test_processes_share_memory(self):
        with multiprocessing.Pool(2) as pool:
            self.assertEqual(pool.map(abs, [-1, -2]), [1, 2])

    def test_local_server(self):
        server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=lambda: server.accept()[0].sendall(b"hi")).start()
        with socket.create_connection(server.getsockname()) as c:
            self.assertEqual(c.recv(2), b"hi")

    def test_temporary_file(self):
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"x")
`)
		h.sameInsideAsOutside("/usr/bin/python3 -m unittest -v 2>&1 && echo tested", "tested")
	})
}

// A project of others: 140 tests of a Python package and its compiled part.
func TestThirdPartyPythonProjectTestsInside(t *testing.T) {
	needs.Tool(t, "/usr/bin/python3")
	dir := debianPackage(t, pythonProject)
	asEachUser(t, func(h *host) {
		h.adopt(filepath.Join(dir, "usr/lib/python3/dist-packages"))
		h.sameInsideAsOutside("/usr/bin/python3 -W error::ImportWarning -c 'import simplejson._speedups' && /usr/bin/python3 -m unittest discover -s simplejson/tests -t . 2>&1", "\nOK")
	})
}

// counted is a program to look into while it runs.
const counted = `package main

import "time"

func step(n int) int { return n * 2 }

func main() {
	for n := 21; ; n = step(n) % 1000 {
		time.Sleep(10 * time.Millisecond)
	}
}
`

// The Go debugger sets a breakpoint, reads a variable and attaches to a
// running program.
func TestDelveWorksInside(t *testing.T) {
	dir := installed(t, debugger, func(dir string) error {
		cmd := exec.Command("go", "install", debugger)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return &installError{"go install " + debugger, err, string(out)}
		}
		return nil
	})
	dlv := public(t, filepath.Join(dir, "dlv"))
	asEachUser(t, func(h *host) {
		source := h.write("repo/counter.go", counted)
		if err := loudly(h.repo, "go", "build", "-gcflags=-N -l", "-o", h.write("repo/counter", ""), source); err != nil {
			h.Fatal(err)
		}
		h.write("repo/at", "break main.step\ncontinue\nprint n\nexit\n")
		h.write("repo/on", "break main.step\ncontinue\nprint n < 1000\nexit -c\n")
		h.git("add", "-A")
		h.git("commit", "-q", "-m", "debugged")
		const flags = " --allow-non-terminal-interactive=true --check-go-version=false </dev/null 2>&1 --init "
		h.sameInsideAsOutside("chmod +x counter; timeout 60 "+dlv+" exec ./counter"+flags+"at | tee said; grep -x 21 said && "+
			"{ ./counter & } && p=$! && timeout 60 "+dlv+" attach $p"+flags+"on | tee said; kill $p; grep -x true said && echo both", "both", "--ro", dlv)
	})
}

func TestGitWorksInside(t *testing.T) {
	asEachUser(t, func(h *host) {
		r := h.inside("echo x > f && git status --short && git add f && git diff --cached --stat && git commit -q -m made && git log --format='%s %an' -1 && git stash list && git branch b && git checkout -q b && git mv main.sh moved.sh && git commit -q -am moved && git log --oneline | wc -l")
		h.expect(r, 0, "?? f", "made Example User", "3")
		if strings.Contains(r.err, "dubious") {
			h.Errorf("safe.directory is missing\n%s", r)
		}
	})
}

func TestLinkedWorktreeWorksInside(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.git("worktree", "add", "-q", filepath.Join(h.dir, "linked"), "-b", "linked")
		h.repo = filepath.Join(h.dir, "linked")
		h.expect(h.inside("git status --short --branch && echo x > f && git add f && git commit -q -m inside && git log --oneline | wc -l"), 0, "## linked", "2")
		if h.git("log", "--oneline", "linked") == "" || strings.Contains(h.git("log", "--format=%s", "linked"), "inside") {
			h.Error("the desk's commit is in the real repository")
		}
		h.approveAndApply()
		if !h.exists("linked/f") {
			h.Error("not applied to the linked worktree")
		}
	})
}
