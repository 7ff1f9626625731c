//go:build abide_sim && linux

package main

import (
	"path"
	"slices"

	"github.com/abide-project/abide/internal/sim/sched"
)

// paths tells one engine what becomes of files. What it watched ends with it.
type paths struct {
	w       *world
	watches []*pathWatch
}

type pathWatch struct {
	pattern string
	glob    bool
	fn      func()
}

func (p *paths) Watch(name string, fn func()) (func(), error) {
	return p.add(&pathWatch{pattern: name, fn: fn}), nil
}

func (p *paths) WatchGlob(pattern string, fn func()) (func(), error) {
	return p.add(&pathWatch{pattern: pattern, glob: true, fn: fn}), nil
}

func (p *paths) Mark(path string) uint64 { sched.Point(); return p.w.marks[path] }

func (p *paths) add(x *pathWatch) func() {
	sched.Point()
	p.watches = append(p.watches, x)
	return func() {
		sched.Point()
		p.watches = slices.DeleteFunc(p.watches, func(other *pathWatch) bool { return other == x })
	}
}

// changed tells who watches a file that something became of it.
func (p *paths) changed(name string) {
	for _, x := range slices.Clone(p.watches) {
		if matched, _ := path.Match(x.pattern, name); x.pattern == name || x.glob && matched {
			x.fn()
		}
	}
}
