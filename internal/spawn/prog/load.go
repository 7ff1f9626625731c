package prog

import "unsafe"

// Loaded is a program whose offsets have become addresses, ready to run any
// number of times. It lives in the block it was loaded from: keep that block
// where it is and do not write to it while the Loaded is in use.
type Loaded struct {
	block []byte
	ops   unsafe.Pointer
	nops  int
	slots int
	slow  bool
}

// Load validates block and relocates it in place, for the machine this code runs
// on. The block must be aligned to 8 bytes, must not move, and must be private:
// what another process could still change is not validated. It allocates nothing
// unless it fails. A block can be loaded once.
func (l *Loaded) Load(block []byte) error {
	if len(block) > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(block)))%8 != 0 {
		return wrong("it is not aligned to 8 bytes")
	}
	if err := Validate(block); err != nil {
		return err
	}
	h, _ := header(block)
	if h.Arch != NativeArch {
		return wrong("it is for another machine")
	}
	data := dataOf(block, &h)
	base := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(data))))
	for i := range int(h.NRelocs) {
		at := int(relocAt(block, &h, i))
		putUint64(data, at, uint64At(data, at)+base)
	}
	for i := range int(h.NOps) {
		op := block[HeaderSize+i*OpSize:][:OpSize]
		for a := range 6 {
			if op[6]&(1<<a) != 0 {
				putUint64(op, 16+8*a, uint64At(op, 16+8*a)+base)
			}
		}
	}
	*l = Loaded{
		block: block, ops: unsafe.Pointer(&block[HeaderSize]), nops: int(h.NOps),
		slots: int(h.Slots), slow: h.Flags&Slow != 0,
	}
	return nil
}

// Ops returns the address of the first op and their number.
func (l *Loaded) Ops() (unsafe.Pointer, int) { return l.ops, l.nops }

// Slots is the number of descriptors the program wants.
func (l *Loaded) Slots() int { return l.slots }

// Slow reports whether the program must be run by abide-exec.
func (l *Loaded) Slow() bool { return l.slow }

func putUint64(b []byte, i int, n uint64) {
	for k := range 8 {
		b[i+k] = byte(n >> (8 * k))
	}
}
