//go:build amd64 || arm64

package keeper

import (
	"syscall"
	"unsafe"

	"github.com/abide-project/abide/internal/keeper/wire"
	"github.com/abide-project/abide/internal/sys/raw"
)

// fileID says which file a name stands for; the zero fileID is none.
type fileID struct{ dev, ino uint64 }

// named returns what a name in a directory stands for now.
func named(dir int, name string) fileID {
	const opath = 0x200000 // O_PATH
	fd, err := syscall.Openat(dir, name, opath|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fileID{}
	}
	defer raw.Close(fd)
	return opened(fd)
}

func opened(fd int) fileID {
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) != nil {
		return fileID{}
	}
	return fileID{uint64(st.Dev), st.Ino}
}

// rebuildRequest carries out REBUILD: what somebody removed from the run directory
// is made again, what is in its place stays. The engine has made the directory.
func (k *keeper) rebuildRequest(seq uint32, body []byte) {
	var m wire.Rebuild
	if code := m.Decode(body); code != wire.CodeNone {
		k.wrong(seq, code)
		return
	}
	e := syscall.EROFS
	if k.flags&wire.Unrecorded == 0 {
		var dir int
		if dir, e = openRun(k.opts.run); e == 0 {
			e = k.rebuild(dir)
			raw.Close(dir)
		}
	}
	fd := k.listener
	if m.Want == wire.RebuildLock {
		fd = k.lock
	}
	if e == 0 {
		fd, e = raw.DupAbove(fd, ownDescriptors)
	}
	if e != 0 {
		k.fail(seq, wire.CodeSystem, e)
		return
	}
	answer := wire.Held{Name: rebuiltName[:], Tag: m.Want}
	k.answer(answer.Append(k.out[:0], wire.TypeFD, seq), fd)
}

var rebuiltName = [...]byte{'a', 'b', 'i', 'd', 'e'}

// rebuild makes each file again that is not the one we have open. The lock comes
// first: with it nobody else begins to use the directory.
func (k *keeper) rebuild(dir int) syscall.Errno {
	if e := k.rebuildLock(dir); e != 0 {
		return e
	}
	// A file that is there is the engine's, which may know an older id than we do.
	if (named(dir, "id") == fileID{}) {
		if e := writeID(dir, k.id[:]); e != 0 {
			return e
		}
	}
	if e := k.rebuildRecords(dir); e != 0 {
		return e
	}
	return k.rebuildListener(dir)
}

func (k *keeper) rebuildLock(dir int) syscall.Errno {
	if named(dir, "lock") == opened(k.lock) {
		return 0
	}
	fd, err := syscall.Openat(dir, "lock", syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return err.(syscall.Errno)
	}
	defer raw.Close(fd)
	if err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err.(syscall.Errno) // another keeper was quicker
	}
	signLock(fd)
	return replace(fd, k.lock)
}

// replace puts a file in the place of an open one, whose number others know.
func replace(fd, number int) syscall.Errno {
	if err := syscall.Dup3(fd, number, syscall.O_CLOEXEC); err != nil {
		return err.(syscall.Errno)
	}
	return 0
}

// rebuildRecords copies the records into a new file and maps it where the old one
// is. Nothing is stored in between: only this thread, and children that it waits
// for, ever store there.
func (k *keeper) rebuildRecords(dir int) syscall.Errno {
	r := k.records
	if named(dir, "keeper.state") == opened(r.fd) {
		return 0
	}
	const fresh = "keeper.state.new"
	low, err := syscall.Openat(dir, fresh, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err.(syscall.Errno)
	}
	fd, e := raw.DupAbove(low, ownDescriptors)
	raw.Close(low)
	if e != 0 {
		return e
	}
	if e = copyRecords(fd, r); e == 0 {
		e = rename(dir, fresh, "keeper.state")
	}
	if e == 0 {
		e = raw.MapOver(unsafe.Pointer(r.head), fd, recordsSize)
	}
	if e != 0 {
		raw.Close(fd)
		return e
	}
	raw.Close(r.fd)
	r.fd = fd
	return 0
}

func copyRecords(fd int, r *records) syscall.Errno {
	if err := syscall.Ftruncate(fd, recordsSize); err != nil {
		return err.(syscall.Errno)
	}
	used := headerSize + int(r.head.prepared.Load())*slotSize
	if e := reserve(fd, 0, int64(used)); e != 0 {
		return e
	}
	from := unsafe.Slice((*byte)(unsafe.Pointer(r.head)), used)
	for off := 0; off < used; {
		n, err := syscall.Pwrite(fd, from[off:], int64(off))
		if err != nil {
			return err.(syscall.Errno)
		}
		off += n
	}
	return 0
}

func (k *keeper) rebuildListener(dir int) syscall.Errno {
	if now := named(dir, "control.sock"); now != (fileID{}) && now == k.socket {
		return 0
	}
	fd, e := listenControl(dir)
	if e != 0 {
		return e
	}
	defer raw.Close(fd)
	k.socket = named(dir, "control.sock")
	// The engine has the old one as well: epoll would go on telling of it.
	raw.EpollCtl(k.epoll, syscall.EPOLL_CTL_DEL, k.listener, &syscall.EpollEvent{})
	if e := replace(fd, k.listener); e != 0 {
		return e
	}
	k.watchListener()
	return 0
}
