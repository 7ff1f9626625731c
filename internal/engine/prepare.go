package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/model"
)

// prepare comes before everything else of a start: it judges the conditions, makes
// the directories and places the credentials. then is told the condition that does
// not hold, or why it failed, unless the start was given up meanwhile.
func (e *Engine) prepare(s *service, run uint64, then func(unmet, reason string)) {
	s.refusal = 0
	if !e.needsSetting(s.def) {
		then("", "")
		return
	}
	def, places := s.def, e.ports.Setting
	var unmet string
	var err error
	look := func() {
		if unmet = places.Unmet(def); unmet == "" {
			err = places.Make(def, run)
		}
	}
	e.clearPlaced(s)
	tell := func(err error) {
		switch {
		case unmet != "" && s.info.Roll != rollNone:
			then("", "a condition does not hold: "+unmet) // a roll does not wait
		case unmet != "":
			then(unmet, "")
		case err != nil:
			then("", err.Error())
		default:
			s.placed = run
			then("", "")
		}
	}
	if !e.ports.Compiler.MayBlock(def) {
		look()
		tell(err)
		return
	}
	phase := s.st.Phase
	e.slowly(s, func() bool { return s.st.Phase == phase && s.st.Run == run }, look, func(late error) {
		if late == nil {
			late = err
		}
		tell(late)
	})
}

// needsSetting tells whether a definition asks for more than a program.
func (e *Engine) needsSetting(def *model.Service) bool {
	return e.ports.Setting != nil && asksForSetting(def)
}

func asksForSetting(def *model.Service) bool {
	return def.Conditions.Any() || len(def.Credentials) > 0 || def.Directories != (model.Directories{})
}

// slowly does work that may wait for a file server in a goroutine, so that a dead
// one holds up nobody else. Work that does not come back in time is a failure; then
// is called once, in the loop, if the start is still under way.
func (e *Engine) slowly(s *service, still func() bool, work func(), then func(late error)) {
	if s.reading {
		then(fmt.Errorf("cannot start %s: its files have not been read yet, their mount does not answer", s.name))
		return
	}
	s.reading = true
	told := false
	tell := func(late error) {
		if !told && still() {
			told = true
			then(late)
		}
	}
	timer := time.AfterFunc(slowFiles, func() {
		e.Post(func() {
			if s.reading {
				tell(fmt.Errorf("cannot start %s: its files could not be read in %s, their mount does not answer", s.name, slowFiles))
			}
		})
	})
	e.aside(func() {
		work()
		e.Post(func() {
			timer.Stop()
			s.reading = false
			tell(nil)
		})
	})
}

// tidySetting removes what was made for a run that is over, and what was made
// for a service that has come to rest.
func (e *Engine) tidySetting(s *service) {
	places := e.ports.Setting
	if places == nil || s.busy() {
		return
	}
	e.clearPlaced(s)
	if s.tenant && s.def != nil && s.st.AtRest() && s.st.Phase != core.Reached {
		s.tenant = false
		e.removeRunDirectory(s)
	}
}

// clearPlaced removes the credentials of a run that is over.
func (e *Engine) clearPlaced(s *service) {
	if s.placed != 0 {
		e.ports.Setting.Clear(s.name, s.placed)
		s.placed, s.tenant = 0, true
	}
}

// removeRunDirectory removes the folder of [directories] run, unless another service
// that is up has the same.
func (e *Engine) removeRunDirectory(s *service) {
	places := e.ports.Setting
	dir := places.RunDirectory(s.def)
	if dir == "" {
		return
	}
	for other := range e.everyRun {
		if other != s && other.def != nil && !other.st.AtRest() && places.RunDirectory(other.def) == dir {
			return
		}
	}
	if err := places.Remove(s.def); err != nil {
		e.record(s.name, s.st.Run, "state", fmt.Sprintf("cannot remove %s: %v", dir, err), nil)
	}
}

// takeOverSetting finds what former engines made: of runs that are over nothing
// may be left.
func (e *Engine) takeOverSetting() {
	places := e.ports.Setting
	if places == nil {
		return
	}
	placed := map[string][]uint64{}
	for s := range e.everyRun {
		if s.busy() {
			placed[s.name] = append(placed[s.name], s.st.Run)
		}
	}
	for name, r := range e.undefined {
		if r.Live {
			placed[name] = append(placed[name], r.Run)
		}
	}
	places.ClearOthers(func(name string, run uint64) bool { return slices.Contains(placed[name], run) })
	for s := range e.everyRun {
		switch {
		case s.def == nil || !s.adopted || !asksForSetting(s.def):
		case s.busy():
			s.placed = s.st.Run
		case s.info.Last.Run == s.st.Run && s.st.Run != 0:
			// The last run has lived, so the folder was made for it.
			s.tenant = true
			e.tidySetting(s)
		}
	}
}
