//go:build linux

package engine

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/private"
)

// gather notes, while the agent works, what an attestation will need to name:
// the digest of its program, and the text of the policy. The returned function
// waits for it.
func (v *visit) gather() (wait func()) {
	var group sync.WaitGroup
	group.Go(func() { v.program = v.programDigest() })
	group.Go(func() {
		if err := v.e.keepPolicy(v.policy); err != nil {
			v.policyKept = err
		}
	})
	return group.Wait
}

// keepPolicy keeps every text of a policy by digest, once for each. They
// outlive the run and its change: evidence names them. It waits for
// pruning.
func (e *Engine) keepPolicy(p *policy.Engine) error {
	unlock, err := e.lockContents(false)
	if err != nil {
		return err
	}
	defer unlock()
	manifest := e.policyText(p.Digest())
	if now := time.Now(); os.Chtimes(manifest, now, now) == nil { // it was kept, and is in use
		return nil
	}
	texts, err := p.Texts()
	if err != nil {
		return err
	}
	list, err := p.Manifest()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(manifest), 0o700); err != nil {
		return err
	}
	for _, text := range append(texts, list) { // the manifest last: what it names is there
		if err := private.ReplaceSoon(e.policyText(carrel.DigestBytes(text)), text); err != nil {
			return err
		}
	}
	return nil
}

// programDigest is the digest of the agent's program, "" where the desk could
// have changed it, or where it changed while it was read: then what ran is not
// known.
func (v *visit) programDigest() carrel.Digest {
	path := v.plan.Program
	for _, dir := range []string{v.ws.Root(), carrel.DeskWorkspace, v.plan.Home} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return ""
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil || !before.Mode().IsRegular() {
		return ""
	}
	known := v.e.state("programs", fileKey(path, before))
	if raw, ok := recall(known); ok {
		if d, err := carrel.ParseDigest(string(raw)); err == nil {
			return d
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	after, err := f.Stat()
	if err != nil || fileKey(path, after) != fileKey(path, before) {
		return ""
	}
	d := carrel.DigestHash(h)
	if before.Size() > rememberedSize {
		remember(known, []byte(d))
	}
	return d
}

// rememberedSize is how large a program must be for its digest to be
// remembered: reading less takes no longer than finding that.
const rememberedSize = 1 << 20

// fileKey names a file in a state that nobody can bring back by writing to it:
// the time of its last change of any kind is the kernel's to set.
func fileKey(path string, info fs.FileInfo) string {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	text := fmt.Sprintf("%s\x00%d %d %d %d.%d %d.%d", path, s.Dev, s.Ino, s.Size, s.Mtim.Sec, s.Mtim.Nsec, s.Ctim.Sec, s.Ctim.Nsec)
	return carrel.DigestBytes([]byte(text)).Hex()
}
