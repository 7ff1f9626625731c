//go:build amd64 || arm64

package keeper

import (
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

const (
	// ticksPerSecond is USER_HZ, the unit of start times in /proc: 100 on every
	// machine Go runs Linux on.
	ticksPerSecond = 100
	// birthWindow is how long after a spawn began its process may have been born:
	// a run whose start time was not stored yet is known by it.
	birthWindow = 5 * second
)

// indexRecords enters the records of an earlier keeper of this boot into the table
// and returns how many made no sense.
func (k *keeper) indexRecords() (damaged int) {
	t := k.table
	t.fresh = min(k.records.head.prepared.Load(), maxSlots)
	for s := t.fresh; s > 0; s-- {
		r := &k.records.slots[s-1]
		if r.at() != wire.Free && (!r.sound() || k.twin(r)) {
			say("cannot use record ").n(int64(s - 1)).s(" of an earlier keeper: it is damaged; its pid was ").n(int64(r.pid.Load())).end()
			damaged++
			r.setPhase(wire.Free)
		}
		r.succeed()
		if r.at() == wire.Free {
			t.free[t.nfree] = s - 1
			t.nfree++
			continue
		}
		k.index(s - 1)
	}
	return damaged
}

// adopt goes through the runs of an earlier keeper. One is taken over when its pid
// is that of the very process that was recorded; one that is gone becomes an exit
// that nobody saw. It returns how many live.
func (k *keeper) adopt() (live int) {
	for s := range k.table.fresh {
		if p := k.records.slots[s].at(); (p == wire.Live || p == wire.Spawning) && k.adoptRun(s) {
			live++
		}
	}
	return live
}

// twin says whether another slot has the name already.
func (k *keeper) twin(r *slot) bool {
	_, ok := k.find(r.name())
	return ok
}

// adoptRun takes over the run of one slot, or ends it.
func (k *keeper) adoptRun(s uint32) bool {
	r := &k.records.slots[s]
	k.table.live++
	pid := int(r.pid.Load())
	if pid == 0 {
		// The child stores its pid before it lets go of the lock on the records
		// that we hold now: there is none.
		k.finish(s, &exitFacts{flags: wire.StatusUnknown | wire.NotStarted | wire.WasAdopted})
		return false
	}
	pidfd := int(k.table.private[s].pidfd)
	if !k.known(s) {
		var start uint64
		var ok bool
		if pidfd, start, ok = k.identify(r, pid); !ok {
			k.finish(s, &exitFacts{flags: wire.StatusUnknown | wire.WasAdopted})
			return false
		}
		r.start = start
		if k.flags&wire.PidfdNamed != 0 {
			r.pidfd, _ = raw.Inode(pidfd)
		}
	}
	r.setPhase(wire.Live)
	k.table.private[s].state |= stAdopted
	k.shared.adopted.add(uint32(pid))
	k.watch(s, pidfd)
	return true
}

// identify opens a pid and says whether it is the process that was recorded. The
// start time is read while the descriptor is open, so that a pid which passes to
// another process in between is noticed.
func (k *keeper) identify(r *slot, pid int) (pidfd int, start uint64, ok bool) {
	low, e := raw.PidfdOpen(pid)
	if e != 0 {
		return -1, 0, false
	}
	pidfd, e = raw.DupAbove(low, ownDescriptors)
	raw.Close(low)
	if e != 0 {
		return -1, 0, false
	}
	st, e := raw.ReadStat(pid)
	same := false
	switch {
	case raw.PidfdSignal(pidfd, 0, 0) == syscall.ESRCH:
	case r.pidfd != 0 && k.flags&wire.PidfdNamed != 0:
		ino, ie := raw.Inode(pidfd)
		same = ie == 0 && ino == r.pidfd
	case e != 0:
	case r.start != 0:
		same = st.Start == r.start
	default:
		born := st.Start * (second / ticksPerSecond)
		same = born+2*(second/ticksPerSecond) >= r.began && born <= r.began+birthWindow
	}
	if !same {
		raw.Close(pidfd)
		return -1, 0, false
	}
	return pidfd, st.Start, true
}
