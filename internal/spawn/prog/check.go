package prog

// Decoded is a program taken apart. Data is part of the block it came from.
type Decoded struct {
	Header Header
	Ops    []Op
	Relocs []uint32 // offsets in Data, rising
	Data   []byte
}

// Decode takes a program apart without judging its ops. The error says what is
// wrong with the block itself: not a program, another version, a wrong length.
func Decode(block []byte) (*Decoded, error) {
	h, err := header(block)
	if err != nil {
		return nil, err
	}
	d := &Decoded{Header: h, Ops: make([]Op, h.NOps), Relocs: make([]uint32, h.NRelocs), Data: dataOf(block, &h)}
	for i := range d.Ops {
		d.Ops[i] = opAt(block, i)
	}
	for i := range d.Relocs {
		d.Relocs[i] = relocAt(block, &h, i)
	}
	return d, nil
}

// Validate reports whether a block is a program for this or another known
// machine that harms nobody: bounded, only the calls of this package, each
// pointer of each call inside the data block, results only into descriptors of
// later ops, and an execve at the end. It allocates nothing unless it fails, and
// takes any bytes.
func Validate(block []byte) error {
	h, err := header(block)
	if err != nil {
		return err
	}
	c := checker{block: block, h: h, data: dataOf(block, &h)}
	if err := c.relocs(); err != nil {
		return err
	}
	masked := false
	for i := range int(h.NOps) {
		op := opAt(block, i)
		if text := c.op(&op, i); text != "" {
			return &Error{Op: i, Text: text}
		}
		if op.Nr == OpDefSig {
			masked = true
		}
		if nr, _ := Sigprocmask.Number(h.Arch); op.Nr == nr && !masked {
			return &Error{Op: i, Text: "the signal mask may be changed only when no handler of the parent is left"}
		}
	}
	last := opAt(block, int(h.NOps)-1)
	if nr, _ := Execve.Number(h.Arch); last.Nr != nr || last.Flags != 0 {
		return wrong("it does not end in an execve")
	}
	return nil
}

func header(block []byte) (Header, error) {
	if len(block) < HeaderSize {
		return Header{}, wrong("it is shorter than its header")
	}
	h := Header{
		Magic: uint32At(block, 0), Version: uint32At(block, 4), Arch: uint32At(block, 8), Flags: uint32At(block, 12),
		NOps: uint32At(block, 16), DataLen: uint32At(block, 20), NRelocs: uint32At(block, 24), Slots: uint32At(block, 28),
	}
	switch {
	case h.Magic != Magic:
		return h, wrong("it has no magic word")
	case h.Version != Version:
		return h, wrong("it is of version " + decimal(uint64(h.Version)) + ", not " + decimal(Version))
	case h.Arch != ArchAMD64 && h.Arch != ArchARM64:
		return h, wrong("it is for an unknown machine")
	case h.Flags&^Slow != 0:
		return h, wrong("it has unknown flags")
	case h.NOps == 0 || h.NOps > MaxOps:
		return h, wrong("it has " + decimal(uint64(h.NOps)) + " ops")
	case h.DataLen > MaxData || h.DataLen%8 != 0:
		return h, wrong("it has " + decimal(uint64(h.DataLen)) + " bytes of data")
	case h.NRelocs > MaxRelocs:
		return h, wrong("it has " + decimal(uint64(h.NRelocs)) + " relocations")
	case h.Slots > MaxSlots:
		return h, wrong("it wants " + decimal(uint64(h.Slots)) + " descriptors")
	}
	for _, b := range block[32:HeaderSize] {
		if b != 0 {
			return h, wrong("its header has unknown fields")
		}
	}
	want := HeaderSize + int(h.NOps)*OpSize + relocSpace(int(h.NRelocs)) + int(h.DataLen)
	if len(block) != want {
		return h, wrong("it is " + decimal(uint64(len(block))) + " bytes long, not " + decimal(uint64(want)))
	}
	return h, nil
}

// checker holds what the rules of one program are judged by.
type checker struct {
	block []byte
	h     Header
	data  []byte
}

// relocs demands rising, aligned words inside the data, each an offset inside it.
func (c *checker) relocs() error {
	next := uint64(0)
	for i := range int(c.h.NRelocs) {
		at := uint64(relocAt(c.block, &c.h, i))
		if at < next || at%8 != 0 || at+8 > uint64(len(c.data)) {
			return wrong("relocation " + decimal(uint64(i)) + " is out of place")
		}
		if uint64At(c.data, int(at)) >= uint64(len(c.data)) {
			return wrong("relocation " + decimal(uint64(i)) + " points outside the data")
		}
		next = at + 8
	}
	return nil
}

// op returns what is wrong with an op, or "".
func (c *checker) op(op *Op, index int) string {
	if op.Flags&^(IgnoreError|Store) != 0 || op.Reloc>>6 != 0 {
		return "unknown flags"
	}
	switch op.Nr {
	case OpPid:
		if op.Flags != 0 || op.Reloc != 1 || !noMore(op, 1) || !c.free(op.Args[0], PidRoom) {
			return "the pid must go to a free place in the data"
		}
		return ""
	case OpRecord, OpDefSig:
		if op.Flags != 0 || op.Reloc != 0 || !noMore(op, 0) {
			return "arguments where none belong"
		}
		return ""
	}
	call, ok := callOf(c.h.Arch, op.Nr)
	if !ok {
		return "system call " + decimal(uint64(op.Nr)) + " is not for programs"
	}
	for i, p := range rules[call].params {
		if !c.arg(op, i, p) {
			return "argument " + decimal(uint64(i)) + " of system call " + decimal(uint64(op.Nr)) + " is out of bounds"
		}
	}
	if call == Prctl && op.Args[0] == PrctlAmbient && op.Args[1] > 4 {
		return "unknown ambient operation"
	}
	if op.Flags&Store != 0 {
		return c.store(op, call, index)
	}
	if op.DstOp != 0 || op.DstArg != 0 {
		return "a destination without a result"
	}
	return ""
}

// store admits only a descriptor, and only into a descriptor argument of an op
// further on.
func (c *checker) store(op *Op, call Call, index int) string {
	if call != Openat {
		return "only openat has a result to keep"
	}
	if int(op.DstOp) <= index || op.DstOp >= uint16(c.h.NOps) || op.DstArg > 5 {
		return "the result goes nowhere"
	}
	dst := opAt(c.block, int(op.DstOp))
	to, ok := callOf(c.h.Arch, dst.Nr)
	if !ok || !isDescriptor(rules[to].params[op.DstArg].kind) {
		return "the result goes where no descriptor is wanted"
	}
	return ""
}

func (c *checker) arg(op *Op, i int, p param) bool {
	v := op.Args[i]
	pointer := p.kind >= isString
	if pointer != (op.Reloc&(1<<i) != 0) {
		return false
	}
	switch p.kind {
	case isNumber:
		return true
	case isNone:
		return v == 0
	case isExactly:
		return v == p.n
	case isAtLeast:
		return v >= p.n && v <= 0xffffffff
	case isOwnFD:
		return v <= 1<<31-1
	case isFD:
		return v < FirstSlot+uint64(c.h.Slots)
	case isFlags:
		return v&OCloexec != 0 && v <= 0xffffffff
	case isOption:
		return allowedPrctl(v)
	case isString:
		return c.text(v)
	case isVector:
		return c.vector(v)
	case isBuffer:
		return c.free(v, p.n)
	case isCounted:
		n := op.Args[p.by]
		return op.Reloc&(1<<p.by) == 0 && n <= MaxData && c.free(v, n*p.n)
	}
	return false
}

// text reports whether a NUL-terminated text stands at offset o, clear of words
// that become addresses.
func (c *checker) text(o uint64) bool {
	if o >= uint64(len(c.data)) {
		return false
	}
	for i, b := range c.data[o:] {
		if b == 0 {
			return !c.relocated(o, o+uint64(i)+1)
		}
	}
	return false
}

// vector reports whether a NULL-terminated array of texts stands at offset o.
func (c *checker) vector(o uint64) bool {
	if o%8 != 0 {
		return false
	}
	r := c.firstReloc(o)
	for ; o+8 <= uint64(len(c.data)); o, r = o+8, r+1 {
		if r >= int(c.h.NRelocs) || uint64(relocAt(c.block, &c.h, r)) != o {
			return uint64At(c.data, int(o)) == 0
		}
		if !c.text(uint64At(c.data, int(o))) {
			return false
		}
	}
	return false
}

// free reports whether n bytes at offset o are data, clear of words that become
// addresses: nobody may overwrite or print those.
func (c *checker) free(o, n uint64) bool {
	size := uint64(len(c.data))
	return o <= size && n <= size-o && !c.relocated(o, o+n)
}

// relocated reports whether a word that becomes an address touches [from, to).
func (c *checker) relocated(from, to uint64) bool {
	start := from &^ 7
	r := c.firstReloc(start)
	return r < int(c.h.NRelocs) && uint64(relocAt(c.block, &c.h, r)) < to
}

// firstReloc is the index of the first relocation at offset o or behind.
func (c *checker) firstReloc(o uint64) int {
	low, high := 0, int(c.h.NRelocs)
	for low < high {
		mid := (low + high) / 2
		if uint64(relocAt(c.block, &c.h, mid)) < o {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

func isDescriptor(k kind) bool { return k == isFD || k == isOwnFD }

func noMore(op *Op, from int) bool {
	for _, a := range op.Args[from:] {
		if a != 0 {
			return false
		}
	}
	return op.DstOp == 0 && op.DstArg == 0
}

func relocSpace(n int) int { return (n*4 + 7) &^ 7 }

func relocAt(block []byte, h *Header, i int) uint32 {
	return uint32At(block, HeaderSize+int(h.NOps)*OpSize+i*4)
}

func dataOf(block []byte, h *Header) []byte {
	return block[len(block)-int(h.DataLen):]
}

func opAt(block []byte, i int) Op {
	b := block[HeaderSize+i*OpSize:][:OpSize]
	op := Op{
		Nr: uint32At(b, 0), Flags: uint16(b[4]) | uint16(b[5])<<8, Reloc: b[6],
		DstOp: uint16(b[8]) | uint16(b[9])<<8, DstArg: uint16(b[10]) | uint16(b[11])<<8,
	}
	for i := range op.Args {
		op.Args[i] = uint64At(b, 16+8*i)
	}
	return op
}

func uint32At(b []byte, i int) uint32 {
	return uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16 | uint32(b[i+3])<<24
}

func uint64At(b []byte, i int) uint64 {
	return uint64(uint32At(b, i)) | uint64(uint32At(b, i+4))<<32
}
