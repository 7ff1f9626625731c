//go:build amd64 || arm64

package keeper

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/spawn/vspawn"
	"github.com/abide-project/abide/internal/sys/raw"
	"github.com/abide-project/abide/internal/sys/raw/birth"
	"github.com/abide-project/abide/internal/version"
)

// Main is abide-keeper: args without the program's name, and its environment,
// which the engine inherits. The calling goroutine must be locked to the
// process's first thread. It returns the exit code.
func Main(args, environ []string) int {
	caught := catchSignals()
	runtime.GOMAXPROCS(1)
	if len(args) == 1 && args[0] == "--version" {
		_, _ = raw.Write(1, []byte("abide-keeper "+version.Version+"\n"))
		return 0
	}
	if len(args) > 0 && args[0] == "--prove" {
		return proveSelf(args[1:], environ)
	}
	opts, wrong := parseOptions(args)
	if wrong != "" {
		say(wrong).end()
		say(usage).end()
		return exitUsage
	}
	opts.worst = worstRung(environ)
	opts.path, opts.environ = os.Args[0], without(batonVariable, environ)
	fixStdio()
	left := receiveFirst(-1)
	var k *keeper
	var engine, code int
	if fd, file, given := givenBaton(environ); given {
		raw.SetName(&keeperName[0])
		k, engine, code = resume(opts, fd, file)
	} else {
		closeInherited(opts.lease, opts.inherit)
		opts.lease = above(opts.lease)
		if left = receiveFirst(opts.inherit); left.lease >= 0 {
			opts.lease = left.lease
		}
		k, code = prepare(opts, left)
	}
	if k == nil {
		return code
	}
	if dir, e := openRun(opts.run); e == 0 {
		k.socket = named(dir, "control.sock")
		raw.Close(dir)
	}
	p, code := newParent(k)
	if p == nil {
		return code
	}
	p.inherited = engine
	left.agree()
	go k.shared.forwardSignals(caught)
	started := make(chan struct{})
	go func() {
		runtime.LockOSThread() // services are children of this thread: it must never end
		close(started)
		k.run()
	}()
	<-started
	p.run()
	return k.leave()
}

// prepare does everything up to the first thread: limits, lock, records,
// adoption, control socket.
func prepare(opts options, left *handover) (k *keeper, code int) {
	var lock, listener int
	fail := func(what string, e syscall.Errno) (*keeper, int) {
		say("cannot ").s(what).s(" ").s(opts.run).errno(e).end()
		return nil, exitSystem
	}
	k = &keeper{opts: opts, birth: [2]uint64{birth.NofileSoft, birth.NofileHard}, outFD: -1, environ: opts.environ, upgrade: noUpgrade}
	k.trial.program = -1
	if opts.nofile[0] != 0 {
		k.birth = opts.nofile
	}
	k.engine = connection{sock: -1, pidfd: -1}
	k.nofile = raiseNofile()
	sizeTable()
	id := readIdentity()
	pid1 := raw.Pid() == 1
	if pid1 {
		k.flags |= wire.PID1
		if id.pidns == machineNamespace {
			k.flags |= wire.Machine
			_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_CAD_OFF) // Ctrl-Alt-Del becomes SIGINT
		}
	} else if raw.SetSubreaper() == 0 {
		k.flags |= wire.Subreaper
	}

	dir, e := openRun(opts.run)
	if e == 0 {
		var holder int
		if lock = left.lock; !inheritLock(dir, lock) {
			lock, holder, e = lockRun(dir)
		}
		if e == syscall.EBUSY {
			if holder != 0 {
				say("cannot use ").s(opts.run).s(": held by abide-keeper pid ").n(int64(holder)).end()
			} else {
				say("cannot use ").s(opts.run).s(": its lock is held by what an earlier keeper left running").end()
			}
			return nil, exitFailed
		}
	}
	what := recordsNone
	if e == 0 {
		k.id, e = readID(dir)
	}
	if e == 0 {
		if k.records, what, e = openRecords(dir, id); e == syscall.EBUSY {
			say("cannot use ").s(opts.run).s(": a process that an earlier keeper was about to start holds keeper.state").end()
			return nil, exitFailed
		}
	}
	if listener = left.listener; e == 0 && listener < 0 {
		listener, e = listenControl(dir)
	}
	if e != 0 {
		if opts.mode != "init" {
			return fail("use", e)
		}
		// An init that does not start is worse than one without records.
		say("cannot use ").s(opts.run).errno(e).s("; running without records").end()
		k.flags |= wire.Unrecorded
		randomHex(&k.id)
		if k.records, e = memoryRecords(id); e != 0 {
			return fail("get memory for", e)
		}
		if listener, e = listenNowhere(); e != 0 {
			return fail("make a socket for", e)
		}
		if lock = nullDescriptor(); lock < 0 {
			return fail("open /dev/null for", syscall.ENODEV)
		}
		what = recordsNone
	}
	if what == recordsNew {
		k.flags |= wire.RecordsNew
	}
	if what == recordsSetAside {
		k.flags |= wire.RecordsSet
		say("cannot use the records of an earlier keeper in ").s(opts.run).
			s(": they are of another boot or damaged; now called keeper.state.bad").end()
	}
	if e := k.build(); e != 0 {
		return fail("prepare to run services of", e)
	}
	if k.rung == vspawn.RungNone {
		return fail("start programs for", syscall.EPERM)
	}
	damaged := 0
	if what == recordsKept {
		damaged = k.indexRecords()
	}
	k.inherit(left)
	live := k.adopt()
	if live > 0 {
		k.flags |= wire.Adopted
	}
	if damaged > 0 {
		k.flags |= wire.RecordsDamaged
	}
	k.lock, k.listener, k.program = lock, listener, openSelf()
	return k, 0
}

// build makes everything the loop needs, so that it never has to ask for memory.
func (k *keeper) build() (e syscall.Errno) {
	if k.table, e = newTable(); e != 0 {
		return e
	}
	p, e := raw.MapAnonymous(arenaSize)
	if e != 0 {
		return e
	}
	k.arena = unsafe.Slice((*byte)(p), arenaSize)
	p, e = raw.MapAnonymous(int(unsafe.Sizeof(pidSet{})))
	if e != 0 {
		return e
	}
	k.shared.adopted = (*pidSet)(p)
	p, e = raw.MapAnonymous(wire.MaxMessage)
	if e != 0 {
		return e
	}
	k.out = unsafe.Slice((*byte)(p), wire.MaxMessage)[:0]
	k.rung = max(vspawn.Probe(), k.opts.worst)
	spawner, err := vspawn.New()
	if err != nil {
		return errnoOf(err)
	}
	k.spawner = spawner
	if k.epoll, e = raw.EpollCreate(); e != 0 {
		return e
	}
	k.epoll = above(k.epoll)
	if k.shared.wake, e = raw.Eventfd(); e != 0 {
		return e
	}
	k.shared.wake = above(k.shared.wake)
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(k.shared.wake), Pad: fromShared}
	if e = raw.EpollCtl(k.epoll, syscall.EPOLL_CTL_ADD, k.shared.wake, &ev); e != 0 {
		return e
	}
	if self, e := raw.PidfdOpen(raw.Pid()); e == 0 {
		if raw.PidfdInodes(self) {
			k.flags |= wire.PidfdNamed
		}
		raw.Close(self)
	}
	return 0
}

func newParent(k *keeper) (*parent, int) {
	p := &parent{shared: &k.shared, rung: k.rung, path: k.opts.engine[0], fixed: [5]int{-1, k.listener, k.lock, -1, -1}, nfixed: 3}
	if k.opts.lease >= 0 {
		p.fixed[3] = k.opts.lease
		p.nfixed = 4
	}
	p.canLeave = raw.Pid() != 1 && k.table.live == 0 && !k.shared.met.Load() && k.opts.inherit < 0
	environ := k.engineEnviron()
	block, err := childProgram(k.opts.engine[0], k.opts.engine, environ, p.nfixed, p.nfixed)
	if err == nil {
		err = p.program.Load(block)
	}
	if err == nil && k.trial.program >= 0 {
		p.fixed[p.nfixed] = k.trial.program
		err = p.loadBefore(k.trial.path, k.opts.engine, environ)
	}
	if err != nil {
		say(err.Error()).end()
		return nil, exitUsage
	}
	if p.spawner, err = vspawn.New(); err != nil {
		say("cannot get memory to start the engine").errno(errnoOf(err)).end()
		return nil, exitSystem
	}
	return p, 0
}

// engineEnviron is our environment, and how to put another keeper in our place.
func (k *keeper) engineEnviron() []string {
	heir := wire.Heir{Pid: raw.Pid(), Soft: k.birth[0], Hard: k.birth[1], Words: append([]string{k.opts.path}, k.opts.args...)}
	return append(without(wire.HeirVariable+"=", k.environ), wire.HeirVariable+"="+heir.Text())
}

// leave ends the keeper as it was asked to.
func (k *keeper) leave() int {
	var how int
	switch k.shared.action.Load() {
	case wire.ActionPoweroff:
		how = syscall.LINUX_REBOOT_CMD_POWER_OFF
	case wire.ActionReboot:
		how = syscall.LINUX_REBOOT_CMD_RESTART
	case wire.ActionHalt:
		how = syscall.LINUX_REBOOT_CMD_HALT
	default:
		return int(k.shared.code.Load())
	}
	syscall.Sync()
	err := syscall.Reboot(how)
	say("cannot end the machine").errno(errnoOf(err)).end()
	for { // process 1 of a machine has nowhere to go
		raw.Sleep(longestDelay)
	}
}

func errnoOf(err error) syscall.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EINVAL
}

func nullDescriptor() int {
	fd, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return above(fd)
}
