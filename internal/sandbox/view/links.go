package view

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// maxHops is what the kernel follows.
const maxHops = 40

// link is a symbolic link on the way to a file.
type link struct{ path, target string }

// walk follows path component by component and returns the links on the way
// and where it ends.
func walk(path string) (hops []link, final string, err error) {
	rest := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	at := "/"
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		target, err := os.Readlink(next)
		if errors.Is(err, os.ErrNotExist) {
			return hops, next, err
		}
		if err != nil { // not a link
			at = next
			continue
		}
		if hops = append(hops, link{next, target}); len(hops) > maxHops {
			return hops, next, fmt.Errorf("%s: too many links", path)
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if _, err := os.Lstat(at); err != nil {
		return hops, at, err
	}
	return hops, at, nil
}

// follow makes every link on the way to path visible and returns where it
// ends. What is there is not made visible.
func (b *builder) follow(path string) (string, error) {
	hops, final, err := walk(path)
	if err != nil {
		return "", err
	}
	for _, hop := range hops {
		if !b.visible(hop.path) {
			b.add(sandbox.Mount{Kind: sandbox.MountSymlink, Target: hop.path, Source: hop.target})
		}
	}
	return final, nil
}
