// Package witnesstest runs a witness that is not Carrel's: litewitness of
// filippo.io/torchwood, pinned. It is trusted with nothing: only tests import
// it.
package witnesstest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Module is the witness. Later releases need a later Go.
const Module = "filippo.io/torchwood/cmd/litewitness@v0.9.0"

// Tools are the programs that a witness needs: its key is in an ssh-agent, and
// the logs it knows are in a database.
var Tools = []string{"go", "ssh-agent", "ssh-add", "ssh-keygen", "python3"}

// Program installs the witness beside the user's caches, once.
func Program() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "carrel-test", "litewitness-0.9.0")
	program := filepath.Join(dir, "litewitness")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	cmd := exec.Command("go", "install", Module)
	cmd.Dir = os.TempDir() // outside this module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
}

// Witness is a running litewitness.
type Witness struct {
	Key string // name+hash+key
	URL string

	db     string
	stop   func()
	listen string
}

// Start starts a witness of the given name with its files in dir, which must
// have a short path. It knows no log.
func Start(program, dir, name string) (*Witness, error) {
	key := filepath.Join(dir, "key")
	socket := filepath.Join(dir, "agent")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		return nil, err
	}
	w := &Witness{db: filepath.Join(dir, "db"), stop: func() { _ = agent.Process.Kill(); _ = agent.Wait() }}
	if err := w.begin(program, name, key, socket); err != nil {
		w.Stop()
		return nil, err
	}
	return w, nil
}

func (w *Witness) begin(program, name, key, socket string) error {
	if err := until(func() error { _, err := os.Stat(socket); return err }); err != nil {
		return err
	}
	add := exec.Command("ssh-add", "-q", key)
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := add.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	print, err := exec.Command("ssh-keygen", "-l", "-E", "sha256", "-f", key+".pub").Output()
	if err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.listen = free.Addr().String()
	free.Close()
	cmd := exec.Command(program, "-db="+w.db, "-ssh-agent="+socket, "-listen="+w.listen, "-name="+name, "-key="+strings.Fields(string(print))[1])
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	before := w.stop
	w.stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); before() }
	if w.Key, err = verifierKey(said); err != nil {
		return err
	}
	go io.Copy(io.Discard, said) // ends with the process
	w.URL = "http://" + w.listen
	return until(func() error {
		conn, err := net.Dial("tcp", w.listen)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

var saysKey = regexp.MustCompile(`vkey="?([^" ]+)`)

// verifierKey reads what the witness says of its key.
func verifierKey(said io.Reader) (string, error) {
	var all strings.Builder
	lines := bufio.NewReader(said)
	for {
		line, err := lines.ReadString('\n')
		if m := saysKey.FindStringSubmatch(line); m != nil {
			return strings.TrimSpace(m[1]), nil
		}
		all.WriteString(line)
		if err != nil {
			return "", fmt.Errorf("litewitness ended: %s", all.String())
		}
	}
}

// addLog is what witnessctl does for a log; that program cannot be installed
// everywhere.
const addLog = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=10)
db.execute("INSERT OR IGNORE INTO log VALUES (?, 0, '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=')", (sys.argv[2],))
db.execute("INSERT INTO key VALUES (?, ?)", (sys.argv[2], sys.argv[3]))
db.commit()
`

// Know lets the witness cosign the log with the given key.
func (w *Witness) Know(logKey string) error {
	origin, _, _ := strings.Cut(logKey, "+")
	if out, err := exec.Command("python3", "-c", addLog, w.db, origin, logKey).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Stop ends the witness and its agent.
func (w *Witness) Stop() { w.stop() }

func until(try func() error) error {
	err := errors.New("never tried")
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		err = try()
	}
	return err
}
