package engine

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/graph"
	"github.com/abide-project/abide/internal/model"
)

// A runlevel is a target whose name says so: 3, runlevel-3 or runlevel3. To go to it
// is to start it, with all that it pulls, and to stop what belongs to others only.

// runlevel is where the instance is: each a letter or digit, 0 for none.
type runlevel struct {
	previous, current byte
	request           uint64 // that asked for it
}

// String is what runlevel(8) prints, "N 3"; "" before the first.
func (r runlevel) String() string {
	if r.current == 0 {
		return ""
	}
	previous := r.previous
	if previous == 0 {
		previous = 'N'
	}
	return string([]byte{previous, ' ', r.current})
}

// The runlevel page: previous u8, current u8, number of the request u64.
const runlevelSize = 1 + 1 + 8

func (r runlevel) encode() []byte {
	return binary.LittleEndian.AppendUint64([]byte{r.previous, r.current}, r.request)
}

func decodeRunlevel(blob []byte) runlevel {
	b := ownBody(blob, runlevelSize)
	if b == nil || b[0] != 0 && !isLevel(b[0]) || !isLevel(b[1]) {
		return runlevel{}
	}
	return runlevel{previous: b[0], current: b[1], request: binary.LittleEndian.Uint64(b[2:])}
}

func isLevel(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// levelNames are the names that the target of a runlevel may have.
func levelNames(level string) []string {
	return []string{level, "runlevel-" + level, "runlevel" + level}
}

// runlevelOf is the runlevel that a target stands for, "" if none. A name of one
// letter alone may be anything.
func runlevelOf(s *service) string {
	if s.def == nil || s.def.Kind != model.Target {
		return ""
	}
	rest, prefixed := strings.CutPrefix(s.name, "runlevel")
	rest = strings.TrimPrefix(rest, "-")
	if len(rest) != 1 || !isLevel(rest[0]) || !prefixed && !strings.Contains("0123456789Ss", rest) {
		return ""
	}
	return rest
}

// goToRunlevel carries out `abide runlevel N`. Done again after the death of an
// engine it finds most of it done.
func (e *Engine) goToRunlevel(req control.Request) ([]control.Outcome, []*waiter, error) {
	if len(req.Names) != 1 || len(req.Names[0]) != 1 || !isLevel(req.Names[0][0]) {
		return nil, nil, &control.Error{
			Code: control.Usage, Message: fmt.Sprintf("cannot go to runlevel %q: a runlevel is one letter or digit", strings.Join(req.Names, " ")),
			Hint: "abide runlevel 3",
		}
	}
	level := req.Names[0]
	target := e.runlevelTarget(level)
	if target == nil {
		return nil, nil, &control.Error{
			Code: control.Unknown, Message: fmt.Sprintf("cannot go to runlevel %s: no target is called %s", level, strings.Join(levelNames(level), ", ")),
			Hint: fmt.Sprintf(`a file runlevel-%s.toml with kind = "target" and wants = [...] makes one`, level),
		}
	}
	e.wire()
	leaving := e.ofOtherRunlevels(target)
	if e.request == 0 || e.runlevel.request != e.request {
		e.runlevel = runlevel{previous: e.runlevel.current, current: level[0], request: e.request}
		e.putOwn(runlevelPage, e.runlevel.encode())
		e.record("", 0, "abide", fmt.Sprintf("going to runlevel %s by %s", level, whoText(req.Who)), map[string]string{"runlevel": e.runlevel.String()})
	}
	var outcomes []control.Outcome
	var waits []*waiter
	for _, s := range leaving {
		run := s.st.Run
		busy := s.busy()
		e.bringDown(s, endStop)
		if busy {
			waits = append(waits, e.waitFor(s, waitDown, run, ""))
		}
	}
	start := req
	start.Verb = control.Start
	o, w := e.start(start, target, "")
	if w != nil {
		waits = append(waits, w)
	} else {
		outcomes = append(outcomes, o)
	}
	return outcomes, waits, nil
}

// runlevelTarget finds the target of a runlevel, nil if there is none.
func (e *Engine) runlevelTarget(level string) *service {
	for _, name := range levelNames(level) {
		if s := e.services[name]; s != nil && !s.gone && runlevelOf(s) == level {
			return s
		}
	}
	return nil
}

// ofOtherRunlevels are the services that go when a runlevel is gone to: the targets
// of all others, and what only these pull. What something else needs that is wanted
// stays.
func (e *Engine) ofOtherRunlevels(target *service) []*service {
	var others []string
	for _, name := range sortedKeys(e.services) {
		if s := e.services[name]; s != target && runlevelOf(s) != "" {
			others = append(others, name)
		}
	}
	goes := map[*service]bool{}
	for _, id := range e.deps.graph.Closure(others, graph.Requires, graph.Wants, graph.AnyOf) {
		if s := e.deps.byID[id]; s != nil {
			goes[s] = true
		}
	}
	for _, name := range others {
		goes[e.services[name]] = true
	}
	stays := []string{target.name}
	for name, s := range e.services {
		if s.st.Wanted && !goes[s] {
			stays = append(stays, name)
		}
	}
	for _, id := range e.deps.graph.Closure(stays, graph.Requires, graph.Wants, graph.AnyOf) {
		delete(goes, e.deps.byID[id])
	}
	var list []*service
	for _, name := range sortedKeys(e.services) {
		if s := e.services[name]; goes[s] && (s.st.Wanted || s.busy()) {
			list = append(list, s)
		}
	}
	return list
}
