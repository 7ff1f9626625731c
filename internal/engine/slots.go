package engine

import (
	"strings"
	"time"

	"github.com/abide-project/abide/internal/core"
)

// While a service is rolled two runs of it live, and the keeper has a slot for
// each: one called as the service, one with rollSuffix. A service lives in either,
// in the other one after each roll. Its page in the snapshot is called as its slot.
const rollSuffix = "/roll"

func serviceOf(slot string) string { return strings.TrimSuffix(slot, rollSuffix) }

func (s *service) otherSlot() string {
	if s.slot == s.name {
		return s.name + rollSuffix
	}
	return s.name
}

// isAux tells whether a slot is a command's that runs beside a service.
func isAux(slot string) bool { return strings.Contains(serviceOf(slot), "/") }

// inSlot returns the service that lives in a slot, the hidden half of a roll
// included, nil if none does.
func (e *Engine) inSlot(slot string) *service {
	if s := e.services[serviceOf(slot)]; s != nil && s.slot == slot {
		return s
	}
	return e.hidden[slot]
}

// everyRun are all that may have a run: the services, then the hidden halves of
// rolls.
func (e *Engine) everyRun(yield func(*service) bool) {
	for _, s := range e.services {
		if !yield(s) {
			return
		}
	}
	for _, s := range e.hidden {
		if !yield(s) {
			return
		}
	}
}

// placePages puts what pages say where it belongs: of two pages of a service, which a
// roll leaves behind, one is its own and the other that of the hidden half.
func (e *Engine) placePages(pages map[string][]byte) {
	roles := map[string]rollPart{}
	for slot, blob := range pages {
		st, kept, err := readPage(blob)
		s := e.known(serviceOf(slot))
		if err != nil {
			e.record(serviceOf(slot), 0, "state", err.Error(), nil)
			if s != nil && s.slot == slot {
				s.unread = true
			}
			continue
		}
		e.asked.last = max(e.asked.last, kept.Request)
		if s == nil {
			continue
		}
		roles[slot] = kept.Roll
		one := &service{name: s.name, slot: slot, st: st, info: kept}
		if !s.adopted {
			e.inCharge(s, one)
			continue
		}
		other := &service{name: s.name, slot: s.slot, st: s.st, info: s.info}
		other.info.Roll = roles[s.slot]
		if newer(one, other) {
			one, other = other, one
		}
		// one is hidden now.
		e.inCharge(s, other)
		e.hide(s, one)
	}
}

// newer tells which of two halves of a roll is the service's: the one that is not
// coming or leaving; of two that claim to be, the later run.
func newer(a, b *service) bool {
	if (a.info.Roll == rollNone) != (b.info.Roll == rollNone) {
		return a.info.Roll == rollNone
	}
	if a.info.Roll != b.info.Roll {
		return b.info.Roll == rollComing
	}
	return a.st.Run > b.st.Run
}

func (e *Engine) inCharge(s, kept *service) {
	s.slot, s.st, s.info, s.adopted, s.gone = kept.slot, kept.st, kept.info, true, kept.info.Gone
	s.info.Roll = rollNone
	if s.info.Stopped && !s.st.Wanted && !s.wish.Stopped {
		// The disk did not take the wish.
		s.wish.Stopped, s.wish.At = true, time.Unix(0, s.info.Since)
	}
}

// hide makes a half of a roll known. One that is not on its way up is on its way
// down.
func (e *Engine) hide(s, half *service) {
	half.def, half.cfg, half.wish, half.heapIndex, half.adopted = s.def, onTrial(s.cfg), s.wish, -1, true
	if half.info.Roll != rollComing {
		half.info.Roll = rollLeaving
	}
	e.hidden[half.slot] = half
	if half.info.Roll == rollComing {
		e.useUp(s, half)
	}
}

// recorded returns whose a record is, nil when nobody defines the service. A record
// without a page in the slot that is not the service's own is that of its run if it
// has no other, else what a roll left.
func (e *Engine) recorded(r Record, all map[string]Record) *service {
	if s := e.inSlot(r.Name); s != nil {
		return s
	}
	s := e.known(serviceOf(r.Name))
	own := Record{}
	if s != nil {
		own = all[s.slot]
	}
	switch {
	case s == nil:
		e.setAside(r)
		return nil
	case s.slot == r.Name: // it became known just now
		return s
	case !r.Live && !r.Exited && s.adopted && s.st.Run < r.Run:
		return nil // of a roll that failed: its number is used up
	case !r.Live && !r.Exited && (s.adopted || own.Live || own.Run > r.Run):
		_ = e.ports.Keeper.Forget(r.Name)
		return nil
	case !own.Live && own.Run < r.Run:
		if own.Run != 0 && !own.Exited {
			_ = e.ports.Keeper.Forget(s.slot)
		}
		s.slot = r.Name
		return s
	}
	half := &service{name: s.name, slot: r.Name}
	half.info.Since = e.wall().UnixNano()
	e.hide(s, half)
	return half
}

// resumeRolls goes on with rolls that a former engine began.
func (e *Engine) resumeRolls() {
	for s := range e.everyRun {
		switch {
		case s.info.Roll == rollLeaving:
			e.feedPart(s, core.Event{Kind: core.EvStop}, 0)
		case s.info.Roll == rollComing:
			e.feedPart(s, core.Event{}, 0) // looked at
		}
	}
	e.settle()
}

// carriedOut is the number of the last request that was carried out on a service. A
// roll is on the page of its hidden half until that is over.
func (e *Engine) carriedOut(s *service) uint64 {
	if h := e.hidden[s.otherSlot()]; h != nil {
		return max(h.info.Request, s.info.Request)
	}
	return s.info.Request
}
