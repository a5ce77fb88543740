package workspace

import (
	"path"

	"github.com/carrel-dev/carrel"
)

// imply plans the directories that f's path needs and the change does not
// name, because what is in them says enough.
func (p *applyPlan) imply(f *carrel.FileChange) {
	rel := string(f.Path)
	for i := range len(rel) {
		if rel[i] != '/' || p.made[rel[:i]] {
			continue
		}
		dir := carrel.FileChange{Path: f.Path[:i], FileState: carrel.FileState{Kind: carrel.FileDir, Mode: 0o755}}
		if top := p.madeAbove(rel[:i]); top != "" {
			p.inside[top] = append(p.inside[top], &dir)
		} else if st, err := p.tree.lstat(rel[:i]); err != nil || st.Nlink > 0 {
			continue
		} else {
			p.steps = append(p.steps, applyStep{Kind: stepPut, Path: dir.Path, Mode: dir.Mode, file: &dir})
		}
		p.made[rel[:i]] = true
	}
}

// madeAbove returns the topmost directory above rel that the change makes.
func (p *applyPlan) madeAbove(rel string) (top string) {
	for dir := path.Dir(rel); dir != "."; dir = path.Dir(dir) {
		if p.made[dir] {
			top = dir
		}
	}
	return top
}
