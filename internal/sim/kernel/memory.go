//go:build linux

package kernel

import (
	"syscall"
	"unsafe"
)

// mapping is memory that a process got; it is given back when that dies.
type mapping struct {
	p    unsafe.Pointer
	size uintptr
}

// mmap gives anonymous memory, or the contents of a file, which everybody who
// maps it shares and which outlives them all.
func (k *Kernel) mmap(p *Proc, size, flags uintptr, fd int) (uintptr, syscall.Errno) {
	if flags&syscall.MAP_ANONYMOUS != 0 {
		m, e := fresh(size)
		if e != 0 {
			return 0, e
		}
		p.maps = append(p.maps, m)
		return uintptr(m.p), 0
	}
	f := k.file(p, fd)
	if f == nil || f.ino == nil {
		return 0, syscall.EBADF
	}
	if f.ino.shared == nil {
		m, e := fresh(size)
		if e != 0 {
			return 0, e
		}
		copy(unsafe.Slice((*byte)(m.p), size), f.ino.bytes())
		f.ino.shared, f.ino.data = m.p, nil
		k.Init.maps = append(k.Init.maps, m)
	}
	return uintptr(f.ino.shared), 0
}

// fresh is zeroed memory that the garbage collector does not know.
func fresh(size uintptr) (mapping, syscall.Errno) {
	r, _, e := syscall.RawSyscall6(syscall.SYS_MMAP, 0, size, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANONYMOUS|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE, ^uintptr(0), 0)
	return mapping{p: *(*unsafe.Pointer)(unsafe.Pointer(&r)), size: size}, e
}

func (p *Proc) unmap() {
	for _, m := range p.maps {
		_, _, _ = syscall.RawSyscall(syscall.SYS_MUNMAP, uintptr(m.p), m.size, 0)
	}
	p.maps = nil
}

// Abandon ends a process without anybody being told: the world is over.
func (p *Proc) Abandon() { p.state = reaped }

// Dispose gives back what the machine has.
func (k *Kernel) Dispose() {
	for _, p := range k.procs {
		p.unmap()
	}
}
