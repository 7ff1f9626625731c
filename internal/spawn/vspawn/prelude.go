//go:build linux && (amd64 || arm64)

package vspawn

import (
	"unsafe"

	"github.com/abide-project/abide/internal/spawn/prog"
)

// prelude builds the ops that run in the child before the program's own. They
// are ours, not checked, and may do what programs may not: name descriptors of
// the parent.
type prelude struct {
	c    *call
	n    int
	what [preludeMax]int // the Fail value of each op
}

func (p *prelude) op(what int, call prog.Call, args ...uint64) *prog.Op {
	op := &p.c.early[p.n]
	*op = prog.Op{Nr: uint32(number(call))}
	copy(op.Args[:], args)
	p.what[p.n] = what
	p.n++
	return op
}

// record stores the child's pid before anything else. Until then the child shares
// or has copies of all of its parent's descriptors, the lock of its run directory
// among them: should the parent be killed, whoever gets that lock finds the pid.
func (p *prelude) record() {
	p.c.early[p.n] = prog.Op{Nr: prog.OpRecord}
	p.what[p.n] = FailClone
	p.n++
}

// join enters a cgroup by its directory's descriptor.
func (p *prelude) join(dir int) {
	const writeOnly = 1
	open := p.op(FailCgroup, prog.Openat, uint64(dir), address(&p.c.procs[0]), writeOnly|prog.OCloexec)
	p.keep(open, 0)
	p.op(FailCgroup, prog.Write, 0, address(&p.c.zero[0]), 1)
}

// pass puts descriptors into the slots. All are copied above the slots first, so
// that none is overwritten before its turn.
func (p *prelude) pass(list []int) {
	above := uint64(prog.FirstSlot + len(list))
	first := p.n
	for _, fd := range list {
		up := p.op(FailPass, prog.Fcntl, uint64(fd), fDupfdCloexec, above)
		up.Flags, up.DstOp = prog.Store, uint16(first+len(list))
		first++
	}
	for i := range list {
		p.op(FailPass, prog.Dup3, 0, uint64(prog.FirstSlot+i), prog.OCloexec)
	}
}

// closeFrom closes every descriptor from low up. A table that is shared must
// become the child's own before anything else; a copied one loses the rest at
// exec, by close-on-exec, on a kernel that cannot close ranges.
func (p *prelude) closeFrom(low int, shared, able bool) {
	switch {
	case shared:
		p.op(FailClose, prog.CloseRange, uint64(low), 1<<32-1, closeRangeUnshare)
	case able:
		p.op(FailClose, prog.CloseRange, uint64(low), 1<<32-1, 0)
	}
}

// keep stores the result of the newest op into argument arg of the next one.
func (p *prelude) keep(op *prog.Op, arg int) {
	op.Flags, op.DstOp, op.DstArg = prog.Store, uint16(p.n), uint16(arg)
}

func address(b *byte) uint64 { return uint64(uintptr(unsafe.Pointer(b))) }
