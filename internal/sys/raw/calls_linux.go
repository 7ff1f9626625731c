package raw

import (
	"syscall"
	"unsafe"
)

// System call numbers that are the same on every machine Go runs Linux on.
const (
	sysPidfdSendSignal = 424
	sysPidfdOpen       = 434
)

// Constants that package syscall does not have.
const (
	FAllocateKeepNothing = 0

	PAll   = 0 // waitid: idtype P_ALL
	PPid   = 1 // waitid: idtype P_PID
	PPidfd = 3 // waitid: idtype P_PIDFD

	WExited   = 4
	WNoWait   = 0x1000000
	WNoHang   = 1
	WAll      = 0x40000000
	WNoThread = 0x20000000

	SealSeal   = 1
	SealShrink = 2
	SealGrow   = 4
	SealWrite  = 8

	fAddSeals = 1033
	fGetSeals = 1034

	prSetChildSubreaper = 36
	clockRealtime       = 0
	clockMonotonic      = 1
	clockBoottime       = 7

	rlimitNofile = 7
)

// Pid returns our own process id.
func Pid() int {
	r, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
	return int(r)
}

// PidfdOpen returns a descriptor of the process with this id.
func PidfdOpen(pid int) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall(sysPidfdOpen, uintptr(pid), 0, 0)
	return int(r), e
}

// PidfdSignalGroup asks PidfdSignal to signal the process group (Linux 6.9).
const PidfdSignalGroup = 4

// PidfdSignal sends a signal to the process behind a descriptor.
func PidfdSignal(pidfd, signo int, flags uintptr) syscall.Errno {
	_, _, e := syscall.RawSyscall6(sysPidfdSendSignal, uintptr(pidfd), uintptr(signo), 0, flags, 0, 0)
	return e
}

// Kill is kill(2); a negative id names a process group.
func Kill(pid, signo int) syscall.Errno {
	_, _, e := syscall.RawSyscall(syscall.SYS_KILL, uintptr(pid), uintptr(signo), 0)
	return e
}

// Getpgid returns the process group of a process.
func Getpgid(pid int) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_GETPGID, uintptr(pid), 0, 0)
	return int(r), e
}

// Getsid returns the session of a process.
func Getsid(pid int) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	return int(r), e
}

// Siginfo is what waitid stores for a child.
type Siginfo struct {
	Signo  int32
	Errno  int32
	Code   int32
	_      int32
	Pid    int32
	Uid    uint32
	Status int32
	_      [100]byte
}

// The values of Siginfo.Code for a child that has ended.
const (
	CldExited = 1
	CldKilled = 2
	CldDumped = 3
)

// WaitStatus turns the pair of waitid into the one word of wait4.
func (s *Siginfo) WaitStatus() uint32 {
	switch s.Code {
	case CldExited:
		return uint32(s.Status&0xff) << 8
	case CldDumped:
		return uint32(s.Status&0x7f) | 0x80
	default:
		return uint32(s.Status & 0x7f)
	}
}

// WaitID is waitid(2) for calls that return at once (WNoHang).
func WaitID(idtype, id int, info *Siginfo, options uintptr, usage *syscall.Rusage) syscall.Errno {
	for {
		_, _, e := syscall.RawSyscall6(syscall.SYS_WAITID, uintptr(idtype), uintptr(id),
			uintptr(unsafe.Pointer(info)), options, uintptr(unsafe.Pointer(usage)), 0)
		if e != syscall.EINTR {
			return e
		}
	}
}

// AwaitID is waitid(2) for calls that may block; the scheduler knows. EINTR is the
// caller's business.
func AwaitID(idtype, id int, info *Siginfo, options uintptr, usage *syscall.Rusage) syscall.Errno {
	_, _, e := syscall.Syscall6(syscall.SYS_WAITID, uintptr(idtype), uintptr(id),
		uintptr(unsafe.Pointer(info)), options, uintptr(unsafe.Pointer(usage)), 0)
	return e
}

// Wait4 is wait4(2); it may block and then gives the processor away.
func Wait4(pid int, status *uint32, options uintptr, usage *syscall.Rusage) (int, syscall.Errno) {
	r, _, e := syscall.Syscall6(syscall.SYS_WAIT4, uintptr(pid), uintptr(unsafe.Pointer(status)),
		options, uintptr(unsafe.Pointer(usage)), 0, 0)
	return int(r), e
}

// EpollWait waits for events; a negative timeout (milliseconds) waits for ever.
func EpollWait(epfd int, events []syscall.EpollEvent, timeout int) (int, syscall.Errno) {
	r, _, e := syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(timeout), 0, 0)
	return int(r), e
}

// EpollCtl is epoll_ctl(2).
func EpollCtl(epfd, op, fd int, event *syscall.EpollEvent) syscall.Errno {
	_, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(epfd), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(event)), 0, 0)
	return e
}

// EpollCreate makes an epoll descriptor, close-on-exec.
func EpollCreate() (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_EPOLL_CREATE1, syscall.EPOLL_CLOEXEC, 0, 0)
	return int(r), e
}

// Eventfd makes a non-blocking, close-on-exec event counter.
func Eventfd() (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	return int(r), e
}

// EventfdAdd adds one to an event counter.
func EventfdAdd(fd int) {
	one := uint64(1)
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
}

// EventfdDrain sets an event counter to zero.
func EventfdDrain(fd int) {
	var n uint64
	syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&n)), 8)
}

// Close closes a descriptor.
func Close(fd int) {
	syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
}

// Pread reads at an offset.
func Pread(fd int, b []byte, off int64) (int, syscall.Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	r, _, e := syscall.RawSyscall6(syscall.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(&b[0])),
		uintptr(len(b)), uintptr(off), 0, 0)
	return int(r), e
}

// Write writes to a descriptor; a short write is the caller's business.
func Write(fd int, b []byte) (int, syscall.Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	r, _, e := syscall.Syscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(r), e
}

// Writable says whether a write of up to 512 bytes would return at once.
func Writable(fd int) bool { return ready(fd, 4, 0) }

// Readable waits up to a time in nanoseconds until there is something to read, an
// end or an error included.
func Readable(fd int, within int64) bool { return ready(fd, 1, within) }

// ready is ppoll(2) for one descriptor.
func ready(fd int, events int16, within int64) bool {
	type pollfd struct {
		fd      int32
		events  int16
		revents int16
	}
	p := pollfd{fd: int32(fd), events: events}
	left := syscall.NsecToTimespec(within)
	for {
		// Linux stores the time that is left: a signal does not begin it anew.
		r, _, e := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&left)), 0, 0, 0)
		if e != syscall.EINTR {
			return e == 0 && r == 1
		}
	}
}

// MemfdCreate makes a sealable, close-on-exec memory file.
func MemfdCreate(name *byte) (int, syscall.Errno) {
	const cloexec, allowSealing = 1, 2
	r, _, e := syscall.RawSyscall(sysMemfdCreate, uintptr(unsafe.Pointer(name)), cloexec|allowSealing, 0)
	return int(r), e
}

// Seals returns the seals of a memory file.
func Seals(fd int) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), fGetSeals, 0)
	return int(r), e
}

// AddSeals adds seals to a memory file.
func AddSeals(fd, seals int) syscall.Errno {
	_, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), fAddSeals, uintptr(seals))
	return e
}

// DupAbove duplicates a descriptor to the lowest free number not below min,
// close-on-exec.
func DupAbove(fd, min int) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, uintptr(min))
	return int(r), e
}

// DescriptorFlags returns FD_CLOEXEC or 0.
func DescriptorFlags(fd int) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	return int(r), e
}

// SetDescriptorFlags sets FD_CLOEXEC or clears it.
func SetDescriptorFlags(fd, flags int) syscall.Errno {
	_, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFD, uintptr(flags))
	return e
}

// SetSignalMask blocks for the calling thread the signals in the set, signal 1
// being bit 0, and no others. It returns the set before.
func SetSignalMask(set uint64) (old uint64) {
	const setMask = 2
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&set)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	return old
}

// SetName names the calling thread, and on the first one the process; name ends in
// NUL and has at most 16 bytes with it.
func SetName(name *byte) {
	syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0)
}

// SetSubreaper makes us the parent of our descendants' orphans.
func SetSubreaper() syscall.Errno {
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0)
	return e
}

// DefaultSignal sets a signal's action to SIG_DFL behind the back of the Go
// runtime.
func DefaultSignal(signo int) syscall.Errno {
	var action [4]uint64
	_, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signo), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	return e
}

// SetNofile sets our own limits of open descriptors.
func SetNofile(soft, hard uint64) syscall.Errno {
	limit := [2]uint64{soft, hard}
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, rlimitNofile, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	return e
}

// Nofile returns our own limits of open descriptors.
func Nofile() (soft, hard uint64) {
	var limit [2]uint64
	syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, rlimitNofile, 0, uintptr(unsafe.Pointer(&limit)), 0, 0)
	return limit[0], limit[1]
}

func clock(id uintptr) int64 {
	var ts syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

// Boottime is nanoseconds since boot, time spent suspended included.
func Boottime() int64 { return clock(clockBoottime) }

// Monotonic is nanoseconds since boot, time spent suspended excluded.
func Monotonic() int64 { return clock(clockMonotonic) }

// Realtime is nanoseconds since 1970 by the settable clock.
func Realtime() int64 { return clock(clockRealtime) }

// Sleep blocks the calling thread; the scheduler knows.
func Sleep(ns int64) {
	ts := syscall.NsecToTimespec(ns)
	syscall.Syscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// MapAnonymous returns zeroed memory that the garbage collector knows nothing
// of; pages cost nothing before they are touched.
func MapAnonymous(size int) (unsafe.Pointer, syscall.Errno) {
	return mapAt(size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANONYMOUS|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE, -1)
}

// MapShared maps a file readable and writable.
func MapShared(fd, size int) (unsafe.Pointer, syscall.Errno) {
	return mapAt(size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED, fd)
}

// MapOver maps a file, readable and writable, at the address of another mapping
// of the same size, which it takes the place of in one step.
func MapOver(at unsafe.Pointer, fd, size int) syscall.Errno {
	const fixed = 0x10 // MAP_FIXED
	_, _, e := syscall.RawSyscall6(syscall.SYS_MMAP, uintptr(at), uintptr(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|fixed, uintptr(fd), 0)
	return e
}

// MapPrivate maps a file readable and writable; what is written stays with us.
func MapPrivate(fd, size int) (unsafe.Pointer, syscall.Errno) {
	return mapAt(size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE, fd)
}

func mapAt(size, prot, flags, fd int) (unsafe.Pointer, syscall.Errno) {
	r, _, e := syscall.RawSyscall6(syscall.SYS_MMAP, 0, uintptr(size), uintptr(prot), uintptr(flags), uintptr(fd), 0)
	if e != 0 {
		return nil, e
	}
	// The mapping is not Go memory; the conversion through a pointer keeps vet,
	// which cannot know that, quiet.
	return *(*unsafe.Pointer)(unsafe.Pointer(&r)), 0
}

// Unmap ends a mapping.
func Unmap(p unsafe.Pointer, size int) {
	syscall.RawSyscall(syscall.SYS_MUNMAP, uintptr(p), uintptr(size), 0)
}

// Inode returns the inode number behind a descriptor.
func Inode(fd int) (uint64, syscall.Errno) {
	var st syscall.Stat_t
	_, _, e := syscall.RawSyscall(syscall.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(&st)), 0)
	return st.Ino, e
}

// PidfdInodes says whether the inode of a pidfd names the process for the whole
// boot (Linux 6.9 and later); before, all pidfds share one inode.
func PidfdInodes(pidfd int) bool {
	const pidfsMagic = 0x50494446
	var st syscall.Statfs_t
	_, _, e := syscall.RawSyscall(syscall.SYS_FSTATFS, uintptr(pidfd), uintptr(unsafe.Pointer(&st)), 0)
	return e == 0 && st.Type == pidfsMagic
}

// PidfdExit asks for the wait status of a process that somebody else has reaped
// (Linux 6.15 and later).
func PidfdExit(pidfd int) (status uint32, known bool) {
	const getInfo, infoExit = 0xc040ff0b, 1 << 3
	var info struct {
		mask   uint64
		cgroup uint64
		ids    [11]uint32
		exit   int32
	}
	info.mask = infoExit
	_, _, e := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(pidfd), getInfo, uintptr(unsafe.Pointer(&info)))
	if e != 0 || info.mask&infoExit == 0 {
		return 0, false
	}
	return uint32(info.exit), true
}
