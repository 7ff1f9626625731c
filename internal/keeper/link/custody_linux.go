package link

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// custody is what a new keeper would need of this engine, should the present one
// be killed: a pidfd of every live run, and a copy of every descriptor that the
// keeper holds and that could not be found otherwise.
type custody struct {
	mu   sync.Mutex
	runs map[string]liveRun
	held map[holder][]kept
	over map[string]uint64 // runs that ended while collect opens pidfds, else nil

	released bool
}

// holder is a run, or with run 0 a service.
type holder struct {
	name string
	run  uint64
}

type kept struct {
	tag uint32
	fd  int // -1: Handler.Held finds it
}

type liveRun struct {
	run   uint64
	pid   int
	start uint64
	pidfd int
}

func newCustody() custody {
	return custody{runs: map[string]liveRun{}, held: map[holder][]kept{}}
}

// scarce tells whether a descriptor is one of the last that this process may have:
// those are for clients and logs.
func scarce(fd int) bool {
	const spare = 64
	var files unix.Rlimit
	return unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && uint64(fd)+spare >= files.Cur
}

// lives opens a pidfd for a run. Where the process was reaped before that, its
// exit is on the way, and a keeper that is given the descriptor all the same
// compares it with its record.
func (c *custody) lives(name string, run uint64, pid int, start uint64) {
	c.follow(liveRun{run: run, pid: pid, start: start}, name, false)
}

// begins is lives for news: it counts more than what was listed, also when the main
// process of a run has changed.
func (c *custody) begins(name string, run uint64, pid int, start uint64) {
	c.follow(liveRun{run: run, pid: pid, start: start}, name, true)
}

func (c *custody) follow(r liveRun, name string, news bool) {
	fd, err := unix.PidfdOpen(r.pid, 0)
	if err != nil {
		return
	}
	if scarce(fd) {
		unix.Close(fd)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.runs[name]
	later := old.run > r.run || old.run == r.run && !(news && old.pid != r.pid)
	if ok && later || c.over[name] >= r.run && !news || c.released {
		unix.Close(fd)
		return
	}
	if ok {
		unix.Close(old.pidfd)
	}
	r.pidfd = fd
	c.runs[name] = r
}

// ended closes the pidfd of a run; that of a later one of the service stays.
func (c *custody) ended(name string, run uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		c.over[name] = run
	}
	if old, ok := c.runs[name]; ok && old.run <= run {
		unix.Close(old.pidfd)
		delete(c.runs, name)
	}
}

// keep takes over the descriptors of a run.
func (c *custody) keep(h holder, list ...kept) {
	if len(list) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		closeKept(list)
		return
	}
	c.held[h] = append(c.held[h], list...)
}

// answered follows what the keeper did.
func (c *custody) answered(r *request, done bool) {
	switch {
	case r.drops:
		c.drop(r.of, r.tag)
	case !done:
		closeKept(r.gives)
	case r.forgets:
		c.forget(r.of.name)
	default:
		c.keep(r.of, r.gives...)
	}
}

// fill puts a copy in the place of one that was only known by its tag.
func (c *custody) fill(h holder, k kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.held[h] {
		if have := &c.held[h][i]; have.tag == k.tag && have.fd < 0 {
			have.fd = k.fd
			return
		}
	}
	k.close()
}

// drop closes one descriptor of a run, or with wire.AllTags every one.
func (c *custody) drop(h holder, tag uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var left []kept
	for _, k := range c.held[h] {
		if tag == wire.AllTags || k.tag == tag {
			k.close()
		} else {
			left = append(left, k)
		}
	}
	if c.held[h] = left; len(left) == 0 {
		delete(c.held, h)
	}
}

// forget closes whatever is held for a service.
func (c *custody) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for h, list := range c.held {
		if h.name == name {
			closeKept(list)
			delete(c.held, h)
		}
	}
}

// release closes everything.
func (c *custody) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.runs {
		unix.Close(r.pidfd)
	}
	for _, list := range c.held {
		closeKept(list)
	}
	clear(c.runs)
	clear(c.held)
	c.released = true
}

func (k kept) close() {
	if k.fd >= 0 {
		unix.Close(k.fd)
	}
}

func closeKept(list []kept) {
	for _, k := range list {
		k.close()
	}
}

// copyOf is what custody has to keep of a descriptor that the keeper is about to
// be given.
func (l *Link) copyOf(tag uint32, fd int) kept {
	if l.finds(tag) {
		return kept{tag, -1}
	}
	mine, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return kept{tag, -1} // without a copy it is lost with the keeper, no sooner
	}
	return kept{tag, mine}
}

func (l *Link) finds(tag uint32) bool { return l.handler.Finds != nil && l.handler.Finds(tag) }

// collect makes the custody of an engine that finds the runs and descriptors of an
// earlier one. What takes time is in nobody's way.
func (l *Link) collect(list []Record) {
	c := &l.custody
	var missing []holder
	var tags []uint32
	for i := range list {
		for _, held := range list[i].Held {
			h := holder{list[i].Name, held.Run}
			c.keep(h, kept{held.Tag, -1})
			if !l.finds(held.Tag) {
				missing, tags = append(missing, h), append(tags, held.Tag)
			}
		}
	}
	c.over = map[string]uint64{}
	go func() {
		for i := range list {
			if r := &list[i]; r.Phase == wire.Live {
				c.lives(r.Name, r.Run, r.Pid, r.Start)
			}
		}
		c.mu.Lock()
		c.over = nil
		c.mu.Unlock()
		for i, h := range missing {
			if fd, err := l.Take(h.name, h.run, tags[i]); err == nil {
				c.fill(h, kept{tags[i], fd})
			}
		}
	}()
}
