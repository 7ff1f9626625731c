//go:build amd64 || arm64

package keeper

import (
	"sync/atomic"
	"syscall"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/spawn/vspawn"
	"github.com/abide-project/abide/internal/sys/raw"
)

// Our own descriptors live from ownDescriptors up, clear of the slots in which
// children expect theirs.
const ownDescriptors = 64

// spareDescriptors are left for the keeper itself: what arrives when fewer are
// free is refused.
const spareDescriptors = 32

// keeper is the loop's state. The loop's thread owns all of it but shared.
type keeper struct {
	opts    options
	id      [16]byte
	birth   [2]uint64 // limits of open descriptors we were started with
	flags   uint32    // of wire.Welcome
	records *records
	table   *table
	rung    vspawn.Rung
	spawner *vspawn.Spawner
	loaded  prog.Loaded
	arena   []byte // where a program is loaded
	filled  int    // bytes of it that were written last
	slow    [prog.MaxSlots + 1]*prog.Loaded
	nofile  uint64

	lock     int
	listener int
	socket   fileID // what control.sock stood for when it was bound
	program  int    // our own file, -1: not known
	environ  []string
	upgrade  upgrade
	trial    trial

	epoll  int
	events [64]syscall.EpollEvent

	engine connection
	wanted uint32 // epoll interest of the engine's socket

	unsent     uint32 // queue of exits the engine has not been told, slot+1
	unsentLast uint32
	due        uint32 // slots with a deadline, slot+1
	dueAt      int64  // the earliest of them, CLOCK_MONOTONIC ns; 0: none

	signals [65]signalCount
	stats   wire.Stats

	in      [wire.MaxMessage + 1]byte
	out     []byte // the answer being built, or waiting for room
	outFD   int    // goes with it; -1: none
	waiting bool   // out could not be sent
	news    [512]byte
	mail    raw.Messenger

	shared shared
}

// connection is the engine as the loop sees it.
type connection struct {
	sock    int // -1: none
	pidfd   int // -1: none
	pid     uint32
	hello   bool
	version uint32 // of the exchanges, from its hello on
	listed  uint32 // slots below have been told in an inventory
	owed    int64  // CLOCK_MONOTONIC ns since when we wait for any word, 0: we do not
	asked   bool   // ISALIVE is out
	begins  bool   // it has not said a word since its inventory: it may still read definitions
	knocked bool   // a client has connected to control.sock and may still wait
	killed  bool
}

type signalCount struct {
	told    uint32 // to the present engine
	handled uint32
}

// shared is what the two threads and the signal goroutine tell each other.
type shared struct {
	wake     int // eventfd of the loop
	received [65]atomic.Uint32
	mailbox  mailbox
	gone     atomic.Uint32 // connections the loop has read to their end
	engines  atomic.Uint32
	met      atomic.Bool   // an engine has said HELLO
	streak   atomic.Uint32 // engines in a row that died young, or could not be started
	ending   atomic.Uint32 // endNo, endAsked
	code     atomic.Uint32
	action   atomic.Uint32
	orphans  atomic.Uint64
	reaped   reapedRing
	adopted  *pidSet
	back     fallback
}

const (
	endNo uint32 = iota
	endAsked
)

// mailbox hands a new engine to the loop; the loop empties it.
type mailbox struct {
	full  atomic.Bool
	sock  int
	pidfd int
	pid   uint32
}

// wakeLoop makes the loop look at shared.
func (s *shared) wakeLoop() { raw.EventfdAdd(s.wake) }

// end asks both threads to finish; the first word counts.
func (s *shared) end(code, action uint32) {
	if s.ending.Load() != endNo {
		return
	}
	s.code.Store(code)
	s.action.Store(action)
	s.ending.Store(endAsked)
}
