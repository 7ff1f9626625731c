package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/core"
	"github.com/abide-project/abide/internal/notify"
	"github.com/abide-project/abide/internal/pack"
)

// Descriptors is what can be told of descriptors that programs store. Their numbers
// are this process's.
type Descriptors interface {
	Same(a, b int) bool // one open file
	Inode(fd int) (dev, ino uint64)
	HungUp(fd int) bool
	Close(fd int)
}

// fdStore is the descriptors that a service has left with abide for its next run. The
// keeper holds them in a slot of their own, because the runs of a service take turns
// in two; their names are kept beside what the service says.
type fdStore struct{ Entries []storedFD }

type storedFD struct {
	Tag    uint32
	Name   string
	Dev    uint64
	Ino    uint64
	NoPoll bool // it stays when it has hung up
}

// storeSuffix makes of a service's name the slot of what it stores.
const storeSuffix = "/store"

// adoptStore takes over what the keeper holds for a service's runs to come.
func (e *Engine) adoptStore(r Record) {
	name := strings.TrimSuffix(r.Name, storeSuffix)
	st := &fdStore{}
	blob, err := e.ports.Notices.Kept(r.Name)
	if err == nil && blob != nil {
		err = pack.Read(blob, st)
	}
	if err != nil {
		*st = fdStore{}
		e.complainOnce("store", fmt.Sprintf("Cannot tell what %s stores: %v", name, err))
	}
	if len(st.Entries) == 0 {
		_ = e.ports.Keeper.Forget(r.Name)
		return
	}
	holds := func(tag uint32) bool { return slices.Contains(r.Tags, Tagged{Tag: tag}) }
	st.Entries = slices.DeleteFunc(st.Entries, func(f storedFD) bool { return !holds(f.Tag) })
	for _, t := range r.Tags {
		if !slices.ContainsFunc(st.Entries, func(f storedFD) bool { return f.Tag == t.Tag }) {
			_ = e.ports.Keeper.DropOne(r.Name, 0, t.Tag)
		}
	}
	e.stores[name] = st
	if len(st.Entries) == 0 {
		e.dropStore(name)
	}
}

// store keeps descriptors that a run has sent. Their names are on record before the
// keeper has them: one that never came is noticed, one without a name is not.
func (e *Engine) store(s *service, fds []int, m *notify.Message) {
	st := e.stores[s.name]
	if st == nil {
		st = &fdStore{}
	}
	name := m.FDName
	if name == "" {
		name = notify.DefaultName
	}
	for _, fd := range fds {
		dev, ino := e.ports.Descriptors.Inode(fd)
		switch {
		case e.isStored(s, st, fd, dev, ino):
			continue
		case len(st.Entries) >= s.def.FDStore:
			e.ignore(s, fmt.Sprintf("the descriptor %s is not stored: fd_store = %d", name, s.def.FDStore))
			return
		}
		f := storedFD{Tag: st.free(), Name: name, Dev: dev, Ino: ino, NoPoll: m.NoPoll}
		st.Entries = append(st.Entries, f)
		e.stores[s.name] = st
		e.keepStore(s.name)
		if err := e.ports.Keeper.Keep(s.name+storeSuffix, 0, f.Tag, fd); err != nil {
			st.Entries = st.Entries[:len(st.Entries)-1]
			e.keepStore(s.name)
			e.record(s.name, s.st.Run, "notify", fmt.Sprintf("cannot store the descriptor %s: %v", name, err), nil)
			return
		}
		e.record(s.name, s.st.Run, "notify", fmt.Sprintf("the descriptor %s is stored", name), nil)
	}
}

// isStored tells whether a descriptor is there already: programs store theirs at each
// start, and a message may be heard twice.
func (e *Engine) isStored(s *service, st *fdStore, fd int, dev, ino uint64) bool {
	for _, f := range st.Entries {
		if f.Dev != dev || f.Ino != ino {
			continue
		}
		kept, err := e.ports.Keeper.Take(s.name+storeSuffix, 0, f.Tag)
		if err != nil {
			continue
		}
		same := e.ports.Descriptors.Same(kept, fd)
		e.ports.Descriptors.Close(kept)
		if same {
			return true
		}
	}
	return false
}

// free is the lowest tag that is not in use.
func (st *fdStore) free() uint32 {
	tag := HoldStore
	for slices.ContainsFunc(st.Entries, func(f storedFD) bool { return f.Tag == tag }) {
		tag++
	}
	return tag
}

// unstore forgets the descriptors of a name.
func (e *Engine) unstore(s *service, name string) {
	st := e.stores[s.name]
	if st == nil {
		return
	}
	st.Entries = slices.DeleteFunc(st.Entries, func(f storedFD) bool {
		if f.Name == name {
			_ = e.ports.Keeper.DropOne(s.name+storeSuffix, 0, f.Tag)
		}
		return f.Name == name
	})
	e.keepStore(s.name)
}

// handOut takes what is stored for a run that is about to begin. What has hung up
// while nobody had it is of no use and is forgotten.
func (e *Engine) handOut(s *service, c *RunContext) {
	e.takeBackHanded(s)
	st := e.stores[s.name]
	if st == nil {
		return
	}
	before := len(st.Entries)
	st.Entries = slices.DeleteFunc(st.Entries, func(f storedFD) bool {
		fd, err := e.ports.Keeper.Take(s.name+storeSuffix, 0, f.Tag)
		if err != nil {
			return true
		}
		if !f.NoPoll && e.ports.Descriptors.HungUp(fd) {
			e.ports.Descriptors.Close(fd)
			_ = e.ports.Keeper.DropOne(s.name+storeSuffix, 0, f.Tag)
			return true
		}
		s.handedOut = append(s.handedOut, fd)
		c.Stored = append(c.Stored, f.Name)
		return false
	})
	if len(st.Entries) != before {
		e.keepStore(s.name)
	}
}

// takeBackHanded closes our copies of what a run was given.
func (e *Engine) takeBackHanded(s *service) {
	for _, fd := range s.handedOut {
		e.ports.Descriptors.Close(fd)
	}
	s.handedOut = nil
}

// lookAtStore drops what a service stored that was stopped: nothing comes after it.
func (e *Engine) lookAtStore(s *service) {
	if (s.st.Phase == core.Down || s.st.Phase == core.Finished) && e.services[s.name] == s {
		e.dropStore(s.name)
	}
}

func (e *Engine) dropStore(name string) {
	if e.stores[name] == nil {
		return
	}
	delete(e.stores, name)
	_ = e.ports.Notices.Keep(name+storeSuffix, nil)
	_ = e.ports.Keeper.Forget(name + storeSuffix)
}

func (e *Engine) keepStore(name string) {
	st := e.stores[name]
	if len(st.Entries) == 0 {
		e.dropStore(name)
		return
	}
	if err := e.ports.Notices.Keep(name+storeSuffix, pack.Append(nil, st)); err != nil {
		e.complainOnce("store", fmt.Sprintf("Cannot keep the names of what %s stores: %v", name, err))
	}
}

// noDescriptors knows nothing of any.
type noDescriptors struct{}

func (noDescriptors) Same(int, int) bool          { return false }
func (noDescriptors) Inode(int) (dev, ino uint64) { return 0, 0 }
func (noDescriptors) HungUp(int) bool             { return false }
func (noDescriptors) Close(int)                   {}
