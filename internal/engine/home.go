//go:build linux

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
)

// keepsHome says whether the desk's home outlives the run.
func (v *visit) keepsHome() bool {
	switch {
	case v.settings.Home.Value == "discard":
		return false // whoever discards wins
	case v.opts.Home != "":
		return v.opts.Home == "keep"
	case v.settings.Home.IsSet():
		return v.settings.Home.Value == "keep"
	}
	return v.profile.Home.Keep
}

// homeDir is where the desk's home lies on the host: kept at the desk, thrown
// away with the run, or, where nothing is to be filled in, in memory ("").
func (v *visit) homeDir() string {
	switch {
	case v.keepsHome():
		return v.seat.Home()
	case len(v.profile.Home.Fill) > 0:
		return filepath.Join(v.runDir, "home")
	}
	return ""
}

// fillHome puts settings, never credentials, into the home.
func (v *visit) fillHome() error {
	home := v.homeDir()
	if home == "" {
		return nil
	}
	if err := v.makePrivate(home); err != nil {
		return err
	}
	written, err := v.profile.FillHome(v.e.host.Home, home, v.ws.Root())
	if err != nil {
		return fmt.Errorf("filling the desk's home: %w", err)
	}
	if !v.who.Borrowed {
		return nil
	}
	for _, path := range written {
		if err := os.Lchown(path, v.who.Outside, v.who.Group); err != nil {
			return fmt.Errorf("filling the desk's home: %w", err)
		}
	}
	return nil
}

// profileFiles are the files a profile wants: copies of the briefing where the
// agent looks for instructions, and managed settings of the host.
func (v *visit) profileFiles(b view.Briefing) []sandbox.Mount {
	var out []sandbox.Mount
	for _, target := range v.profile.Briefings {
		out = append(out, sandbox.Mount{Kind: sandbox.MountFile, Target: target, Content: []byte(b.Text()), Why: "briefing of the agent"})
	}
	for _, path := range v.profile.HostFiles {
		out = append(out, hostFile(path)...)
	}
	for _, m := range v.profile.Managed {
		variables := v.profile.Env
		if v.model != nil {
			variables = append(variables[:len(variables):len(variables)], v.model.env...)
		}
		if content, err := m.Content(variables); err == nil { // data of a parsed profile always encodes
			out = append(out, sandbox.Mount{Kind: sandbox.MountFile, Target: m.Path, Content: content, Why: "settings of the desk"})
		}
	}
	return out
}

// maxHostFile bounds a settings file of the host that is read.
const maxHostFile = 1 << 20

// hostFile shows managed settings of the host, each file of a directory by
// itself. Programs that settings have started at the client's start or before
// a tool are Carrel's only outside, and left out.
func hostFile(path string) []sandbox.Mount {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if info.IsDir() {
		var out []sandbox.Mount
		entries, _ := os.ReadDir(path) // what cannot be read is not there for the agent either
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".json") {
				out = append(out, hostFile(filepath.Join(path, e.Name()))...)
			}
		}
		return out
	}
	m := sandbox.Mount{Kind: sandbox.MountBind, Target: path, Source: path, Optional: true, Why: "managed settings"}
	if text, err := os.ReadFile(path); err == nil && len(text) < maxHostFile {
		if inside, err := hook.AtDesk(text); err == nil {
			m = sandbox.Mount{Kind: sandbox.MountFile, Target: path, Content: inside, Why: "managed settings"}
		}
	}
	return []sandbox.Mount{m}
}
