//go:build linux

package kernel

import (
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/sim/sched"
)

// Numbers and constants that package syscall lacks.
const (
	sysPidfdSendSignal = 424
	sysPidfdOpen       = 434

	fDupCloexec = syscall.F_DUPFD_CLOEXEC
	fAddSeals   = 1033
	fGetSeals   = 1034
	fGetFD      = 1
	fSetFD      = 2

	wNoHang   = 1
	wNoWait   = 0x1000000
	wNoThread = 0x20000000
	pAll      = 0
	pPidfd    = 3
	prSubr    = 36

	pidfsMagic = 0x50494446
	pidfdInfo  = 0xc040ff0b
	infoExit   = 1 << 3
)

// at turns an address back into a pointer. Whoever passed it keeps it alive, see
// RawSyscall6.
func at[T any](address uintptr) *T { return (*T)(*(*unsafe.Pointer)(unsafe.Pointer(&address))) }

func text(address uintptr) string {
	var b []byte
	for p := *(*unsafe.Pointer)(unsafe.Pointer(&address)); *(*byte)(p) != 0; p = unsafe.Add(p, 1) {
		b = append(b, *(*byte)(p))
	}
	return string(b)
}

func slice(address, n uintptr) []byte { return unsafe.Slice(at[byte](address), n) }

// RawSyscall is syscall.RawSyscall.
//
//go:uintptrescapes
func RawSyscall(nr, a, b, c uintptr) (r1, r2 uintptr, e syscall.Errno) {
	return present.call(nr, a, b, c, 0, 0, 0)
}

// RawSyscall6 is syscall.RawSyscall6. Its arguments may be addresses of Go memory,
// which escapes to the heap by being passed: it must not move.
//
//go:uintptrescapes
func RawSyscall6(nr, a, b, c, d, e, f uintptr) (r1, r2 uintptr, errno syscall.Errno) {
	return present.call(nr, a, b, c, d, e, f)
}

// Syscall is syscall.Syscall.
//
//go:uintptrescapes
func Syscall(nr, a, b, c uintptr) (r1, r2 uintptr, e syscall.Errno) {
	return present.call(nr, a, b, c, 0, 0, 0)
}

// Syscall6 is syscall.Syscall6.
//
//go:uintptrescapes
func Syscall6(nr, a, b, c, d, e, f uintptr) (r1, r2 uintptr, errno syscall.Errno) {
	return present.call(nr, a, b, c, d, e, f)
}

const failed = ^uintptr(0)

func (k *Kernel) call(nr, a, b, c, d, e, f uintptr) (uintptr, uintptr, syscall.Errno) {
	sched.Point()
	r, errno := k.do(current(), nr, a, b, c, d, e)
	if errno != 0 {
		return failed, 0, errno
	}
	return r, 0, 0
}

func (k *Kernel) do(p *Proc, nr, a, b, c, d, e uintptr) (uintptr, syscall.Errno) {
	fd := int(int32(a))
	switch nr {
	case syscall.SYS_GETPID:
		return uintptr(p.Pid), 0
	case syscall.SYS_CLOCK_GETTIME:
		k.clock(a, at[syscall.Timespec](b))
		return 0, 0
	case syscall.SYS_NANOSLEEP:
		sched.Sleep(at[syscall.Timespec](a).Nano())
		return 0, 0
	case syscall.SYS_PRLIMIT64:
		if d != 0 {
			*at[[2]uint64](d) = [2]uint64{nofile, nofile}
		}
		return 0, 0
	case syscall.SYS_PRCTL:
		if a == prSubr {
			p.Sub = b != 0
		}
		return 0, 0
	case syscall.SYS_RT_SIGACTION, syscall.SYS_RT_SIGPROCMASK, syscall.SYS_MUNMAP:
		return 0, 0
	case sysGetrandom:
		for i := range slice(a, b) {
			slice(a, b)[i] = byte(k.S.Rand.Uint32())
		}
		return b, 0
	case syscall.SYS_MMAP:
		return k.mmap(p, b, d, int(int32(e)))
	case syscall.SYS_OPENAT:
		return k.openProc(p, text(b))
	case syscall.SYS_EVENTFD2:
		return uintptr(k.install(p, &File{event: new(uint64)}, 3, true)), 0
	case syscall.SYS_EPOLL_CREATE1:
		return uintptr(k.install(p, &File{poll: &poll{}}, 3, true)), 0
	case sysMemfdCreate:
		i := k.newInode()
		i.memory = true
		return uintptr(k.install(p, &File{ino: i}, 3, true)), 0
	case sysPidfdOpen:
		to := k.procs[fd]
		if to == nil {
			return 0, syscall.ESRCH
		}
		return uintptr(k.install(p, &File{pidfd: to}, 3, true)), 0
	case syscall.SYS_KILL, syscall.SYS_GETPGID, syscall.SYS_GETSID, syscall.SYS_WAIT4, syscall.SYS_WAITID:
		return k.processCall(p, nr, a, b, c, d, e)
	case syscall.SYS_CLOSE:
		return 0, k.closeFD(p, fd)
	case syscall.SYS_PPOLL:
		return k.ppoll(p, at[pollfd](a), at[syscall.Timespec](c).Nano())
	case syscall.SYS_WRITE:
		if fd == 2 {
			if k.Said != nil {
				k.Said(p, strings.TrimSpace(string(slice(b, c))))
			}
			return c, 0
		}
	}
	file := k.file(p, fd)
	if file == nil {
		return 0, syscall.EBADF
	}
	return k.fileCall(p, file, nr, a, b, c, d, e)
}

// nofile is everybody's limit of descriptors.
const nofile = 4096

func (k *Kernel) clock(id uintptr, ts *syscall.Timespec) {
	now := k.S.Monotonic()
	switch id {
	case 0:
		now = k.S.Walltime()
	case 7:
		now = k.S.Boottime()
	}
	*ts = syscall.NsecToTimespec(now)
}

func (k *Kernel) processCall(p *Proc, nr, a, b, c, d, e uintptr) (uintptr, syscall.Errno) {
	switch nr {
	case syscall.SYS_KILL:
		return 0, k.kill(p, int(int32(a)), int(b))
	case syscall.SYS_GETPGID, syscall.SYS_GETSID:
		q := p
		if a != 0 {
			q = k.procs[int(int32(a))]
		}
		switch {
		case q == nil:
			return 0, syscall.ESRCH
		case nr == syscall.SYS_GETPGID:
			return uintptr(q.Pgid), 0
		}
		return uintptr(q.Sid), 0
	case syscall.SYS_WAIT4:
		return k.wait4(p, int(int32(a)), at[uint32](b), c)
	}
	return k.waitid(p, a, b, c, d, e)
}

func (k *Kernel) kill(p *Proc, pid, signo int) syscall.Errno {
	if pid > 0 {
		q := k.procs[pid]
		if q == nil {
			return syscall.ESRCH
		}
		k.Signal(p, q, signo)
		return 0
	}
	found := false
	for _, q := range k.Procs() {
		if q.Pgid == -pid {
			found = true
			k.Signal(p, q, signo)
		}
	}
	if !found {
		return syscall.ESRCH
	}
	return 0
}

// await finds a child that has ended, and waits for one unless told not to: any,
// or the one with a pid; with __WNOTHREAD only those that the calling thread made,
// or inherited as the leader. ECHILD: there is nobody to wait for.
func (k *Kernel) await(p *Proc, pid int, options uintptr) (*Proc, syscall.Errno) {
	find := func() (done *Proc, any bool) {
		for _, q := range k.Procs() {
			if q.Parent != p || pid > 0 && q.Pid != pid || options&wNoThread != 0 && !p.made(q) {
				continue
			}
			any = true
			if q.state == zombie {
				return q, true
			}
		}
		return nil, any
	}
	done, any := find()
	if done == nil && any && options&wNoHang == 0 {
		sched.Park(func() bool {
			q, left := find()
			return q != nil || !left
		}, 0)
		done, any = find()
	}
	if done == nil && !any {
		return nil, syscall.ECHILD
	}
	return done, 0
}

func (k *Kernel) wait4(p *Proc, pid int, status *uint32, options uintptr) (uintptr, syscall.Errno) {
	done, e := k.await(p, pid, options)
	if done == nil {
		return 0, e
	}
	*status = done.Status
	pid = done.Pid
	k.reap(done)
	return uintptr(pid), 0
}

type pollfd struct {
	fd      int32
	events  int16
	revents int16
}

// ppoll waits for one descriptor.
func (k *Kernel) ppoll(p *Proc, of *pollfd, within int64) (uintptr, syscall.Errno) {
	const in, out = 1, 4
	ready := func() bool {
		f := k.file(p, int(of.fd))
		if f == nil {
			return true
		}
		ev := k.readiness(f)
		return ev&syscall.EPOLLIN != 0 && of.events&in != 0 || ev&syscall.EPOLLOUT != 0 && of.events&out != 0 || ev&syscall.EPOLLHUP != 0
	}
	if !ready() && (within == 0 || !sched.Park(ready, k.S.Monotonic()+within)) {
		return 0, 0
	}
	of.revents = of.events
	return 1, 0
}

// made reports whether the running thread is the one of p that q is a child of.
func (p *Proc) made(q *Proc) bool {
	me := sched.Current()
	return q.thread == me || q.thread == nil && me == p.Leader
}

type siginfo struct {
	signo, _, code int32
	_              int32
	pid            int32
	_              uint32
	status         int32
}

func (k *Kernel) waitid(p *Proc, kind, id, info, options, usage uintptr) (uintptr, syscall.Errno) {
	out := at[siginfo](info)
	*out = siginfo{}
	var q *Proc
	switch kind {
	case pAll:
		var e syscall.Errno
		if q, e = k.await(p, 0, options); q == nil {
			return 0, e
		}
	case pPidfd:
		f := k.file(p, int(int32(id)))
		if f == nil || f.pidfd == nil {
			return 0, syscall.EBADF
		}
		q = f.pidfd
		if q.Parent != p || q.state == reaped || options&wNoThread != 0 && !p.made(q) {
			return 0, syscall.ECHILD
		}
		if q.state == alive {
			return 0, 0
		}
	default:
		return 0, syscall.EINVAL
	}
	out.signo, out.pid = int32(syscall.SIGCHLD), int32(q.Pid)
	if s := q.Status & 0x7f; s != 0 {
		out.code, out.status = 2, int32(s)
	} else {
		out.code, out.status = 1, int32(q.Status>>8&0xff)
	}
	if usage != 0 {
		*at[syscall.Rusage](usage) = q.usage
	}
	if options&wNoWait == 0 {
		k.reap(q)
	}
	return 0, 0
}

func (k *Kernel) fileCall(p *Proc, file *File, nr, a, b, c, d, e uintptr) (uintptr, syscall.Errno) {
	fd := int(int32(a))
	switch nr {
	case sysPidfdSendSignal:
		if file.pidfd == nil {
			return 0, syscall.EBADF
		}
		if file.pidfd.state == reaped {
			return 0, syscall.ESRCH
		}
		k.Signal(p, file.pidfd, int(b))
		return 0, 0
	case syscall.SYS_EPOLL_PWAIT:
		return uintptr(k.epollWait(p, file.poll, unsafe.Slice(at[syscall.EpollEvent](b), c), int(int32(d)))), 0
	case syscall.SYS_EPOLL_CTL:
		of := k.file(p, int(int32(c)))
		if of == nil {
			return 0, syscall.EBADF
		}
		var ev *syscall.EpollEvent
		if d != 0 {
			ev = at[syscall.EpollEvent](d)
		}
		return 0, k.epollCtl(file.poll, int(b), int(int32(c)), of, ev)
	case syscall.SYS_WRITE:
		if file.event != nil {
			*file.event++
			return 8, 0
		}
		return k.write(file, slice(b, c), -1)
	case syscall.SYS_READ:
		if file.event != nil {
			*file.event = 0
			return 8, 0
		}
		return k.read(file, slice(b, c), 0)
	case syscall.SYS_PREAD64:
		return k.read(file, slice(b, c), int64(d))
	case syscall.SYS_FCNTL:
		return k.fcntl(p, file, fd, b, c)
	case syscall.SYS_FSTAT:
		st := at[syscall.Stat_t](b)
		*st = syscall.Stat_t{}
		file.stat(k, st)
		return 0, 0
	case syscall.SYS_FSTATFS:
		*at[syscall.Statfs_t](b) = syscall.Statfs_t{}
		if file.pidfd != nil && k.PidfdInodes {
			at[syscall.Statfs_t](b).Type = pidfsMagic
		}
		return 0, 0
	case syscall.SYS_IOCTL:
		return k.exitInfo(file, b, c)
	case syscall.SYS_SENDMSG:
		return k.sendmsg(p, file, at[syscall.Msghdr](b))
	case syscall.SYS_RECVMSG:
		return k.recvmsg(p, file, at[syscall.Msghdr](b))
	}
	if k.Missing != nil {
		k.Missing("system call", nr)
	}
	return 0, syscall.ENOSYS
}

func (f *File) stat(k *Kernel, st *syscall.Stat_t) {
	switch {
	case f.pidfd != nil:
		st.Ino = 1
		if k.PidfdInodes {
			st.Ino = f.pidfd.Inode
		}
	case f.ino != nil:
		st.Ino, st.Size, st.Mode, st.Nlink = f.ino.number, f.ino.size, syscall.S_IFREG|0o600, 1
	case f.sock != nil:
		st.Mode = syscall.S_IFSOCK
	}
}

func (k *Kernel) fcntl(p *Proc, file *File, fd int, op, arg uintptr) (uintptr, syscall.Errno) {
	switch op {
	case fDupCloexec:
		return uintptr(k.install(p, file, int(arg), true)), 0
	case fGetFD:
		if p.fds[fd].cloexec {
			return syscall.FD_CLOEXEC, 0
		}
		return 0, 0
	case fSetFD:
		p.fds[fd].cloexec = arg&syscall.FD_CLOEXEC != 0
		return 0, 0
	}
	if file.ino == nil {
		return 0, syscall.EINVAL
	}
	switch op {
	case fAddSeals:
		file.ino.seals |= int(arg)
		return 0, 0
	case fGetSeals:
		return uintptr(file.ino.seals), 0
	}
	return 0, syscall.EINVAL
}

func (k *Kernel) read(file *File, b []byte, off int64) (uintptr, syscall.Errno) {
	if file.ino == nil {
		return 0, syscall.EINVAL
	}
	return uintptr(file.ino.read(b, off)), 0
}

func (k *Kernel) write(file *File, b []byte, off int64) (uintptr, syscall.Errno) {
	if file.ino == nil {
		return 0, syscall.EINVAL
	}
	if k.FullDisk && !file.ino.memory {
		return 0, syscall.ENOSPC
	}
	if off < 0 {
		off = file.ino.size
	}
	return uintptr(file.ino.write(b, off)), 0
}

// exitInfo is PIDFD_GET_INFO for the exit status, which is there once the process
// is reaped.
func (k *Kernel) exitInfo(file *File, request, address uintptr) (uintptr, syscall.Errno) {
	if file.pidfd == nil || request != pidfdInfo || !k.ExitInfo {
		return 0, syscall.ENOTTY
	}
	info := at[struct {
		mask   uint64
		cgroup uint64
		ids    [11]uint32
		exit   int32
	}](address)
	info.mask = 0
	if file.pidfd.state == reaped {
		info.mask = infoExit
		info.exit = int32(file.pidfd.Status)
	}
	return 0, 0
}

func (k *Kernel) sendmsg(p *Proc, file *File, h *syscall.Msghdr) (uintptr, syscall.Errno) {
	if file.sock == nil {
		return 0, syscall.ENOTSOCK
	}
	var fds []int
	if h.Controllen > 0 {
		b := unsafe.Slice(h.Control, h.Controllen)
		n := *(*uint64)(unsafe.Pointer(&b[0]))
		for at := uint64(16); at+4 <= n; at += 4 {
			fds = append(fds, int(*(*int32)(unsafe.Pointer(&b[at]))))
		}
	}
	data := unsafe.Slice(h.Iov.Base, h.Iov.Len)
	if e := k.send(p, file.sock, data, fds); e != 0 {
		return 0, e
	}
	return uintptr(len(data)), 0
}

func (k *Kernel) recvmsg(p *Proc, file *File, h *syscall.Msghdr) (uintptr, syscall.Errno) {
	if file.sock == nil {
		return 0, syscall.ENOTSOCK
	}
	data, fds, e := k.receive(p, file.sock)
	if e != 0 {
		return 0, e
	}
	n := copy(unsafe.Slice(h.Iov.Base, h.Iov.Len), data)
	h.Flags = 0
	if n < len(data) {
		h.Flags |= syscall.MSG_TRUNC
	}
	room := h.Controllen
	h.Controllen = 0
	if len(fds) > 0 && h.Control != nil {
		b := unsafe.Slice(h.Control, room)
		size := uint64(16 + 4*len(fds))
		*(*uint64)(unsafe.Pointer(&b[0])) = size
		*(*int32)(unsafe.Pointer(&b[8])) = syscall.SOL_SOCKET
		*(*int32)(unsafe.Pointer(&b[12])) = syscall.SCM_RIGHTS
		for i, fd := range fds {
			*(*int32)(unsafe.Pointer(&b[16+4*i])) = int32(fd)
		}
		h.Controllen = (size + 7) &^ 7
	}
	return uintptr(n), 0
}

// openProc opens the files of /proc that the keeper reads.
func (k *Kernel) openProc(p *Proc, path string) (uintptr, syscall.Errno) {
	word, isStat := strings.CutSuffix(path, "/stat")
	if !isStat {
		if k.Missing != nil {
			k.Missing("file "+path, 0)
		}
		return 0, syscall.ENOENT
	}
	pid, _ := strconv.Atoi(strings.TrimPrefix(word, "/proc/"))
	q := k.procs[pid]
	if q == nil {
		return 0, syscall.ENOENT
	}
	state, parent := "S", 0
	if q.state == zombie {
		state = "Z"
	}
	if q.Parent != nil {
		parent = q.Parent.Pid
	}
	line := strconv.Itoa(pid) + " (sim) " + state + " " + strconv.Itoa(parent) +
		strings.Repeat(" 0", 17) + " " + strconv.FormatUint(q.Start, 10) + " 0 0\n"
	i := k.newInode()
	i.write([]byte(line), 0)
	return uintptr(k.install(p, &File{ino: i}, 3, true)), 0
}

func (k *Kernel) newInode() *inode {
	k.inode++
	return &inode{number: k.inode}
}
