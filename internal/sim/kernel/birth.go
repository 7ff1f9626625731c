//go:build linux

package kernel

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/sim/sched"
)

// Birth is a child in the making, as the story sees it.
type Birth struct {
	Parent *Proc
	Child  *Proc
	// Name and Run are of the record that the child stores its pid in, Engine says
	// that there is none.
	Name   string
	Run    uint64
	Engine bool
	Slow   bool // it becomes abide-exec, which runs the program

	// The story's answer: an operation that fails (Errno not 0), or nothing.
	Op    int
	Errno syscall.Errno
	// Begin is called once the child has become its program.
	Begin func()

	report *File
}

// Report leaves what abide-exec says of its failure.
func (b *Birth) Report(text []byte) { b.report.ino.write(text, 0) }

// The layout of a record, see docs/keeper.md.
const (
	recordPid     = 4
	recordRun     = 8
	recordNameLen = 96
	recordName    = 104
)

// Vfork makes a child of the running task's thread, which waits until the child
// has become its program or has failed. The parent can be killed at any moment of
// it; the child goes on.
func Vfork(record *atomic.Uint32, pass []int) (pid, pidfd, failedOp int, errno syscall.Errno) {
	sched.Point()
	k, p := present, current()
	b := &Birth{Parent: p, Engine: record == nil, Op: -1}
	if record != nil {
		slot := unsafe.Add(unsafe.Pointer(record), -recordPid)
		b.Run = *(*uint64)(unsafe.Add(slot, recordRun))
		n := *(*uint32)(unsafe.Add(slot, recordNameLen))
		b.Name = string(unsafe.Slice((*byte)(unsafe.Add(slot, recordName)), n))
	}
	var thread *sched.Task
	if t := sched.Current(); t != p.Leader {
		thread = t
	}
	files := make([]*File, 0, len(pass))
	for _, fd := range pass {
		f := k.file(p, fd)
		if f == nil {
			return 0, -1, -4, syscall.EBADF
		}
		files = append(files, f)
	}
	if b.Slow = !b.Engine && len(files) >= 2; b.Slow {
		b.report = files[len(files)-1]
	}
	// What the child needs of its parent it has from the moment of the clone.
	locks := heldBy(p)
	b.Child = k.Fork(p, thread)
	b.Child.Setsid()
	k.Spawning(b)
	if b.Op == -1 && b.Errno != 0 {
		b.Child.state = zombie
		k.reap(b.Child)
		return 0, -1, -1, b.Errno
	}
	for _, f := range locks {
		f.refs++
	}
	finish := func() {
		// The child runs on whether or not its parent is still there, unless somebody
		// has killed it.
		if b.Child.state != alive {
			for _, f := range locks {
				k.unref(f)
			}
			return
		}
		if record != nil {
			record.Store(uint32(b.Child.Pid))
		}
		for _, f := range locks {
			k.unref(f)
		}
		if b.Errno != 0 {
			k.Exit(b.Child, 127<<8)
			return
		}
		if b.Engine {
			for i, f := range files {
				k.install(b.Child, f, 3+i, false)
			}
		}
		b.Begin()
	}
	done := false
	k.S.After(int64(k.S.Rand.IntN(200_000)), func() { finish(); done = true })
	sched.Park(func() bool { return done }, 0)
	if b.Errno != 0 {
		if b.Child.state == zombie {
			k.reap(b.Child)
		}
		return 0, -1, b.Op, b.Errno
	}
	pid = b.Child.Pid
	return pid, k.install(p, &File{pidfd: b.Child}, 3, true), 0, 0
}

// heldBy lists the files of a process that are locked.
func heldBy(p *Proc) []*File {
	var list []*File
	for _, fd := range sortedFDs(p) {
		if f := p.fds[fd].file; f.ino != nil && f.ino.lock == f {
			list = append(list, f)
		}
	}
	return list
}
