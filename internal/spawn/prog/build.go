package prog

// Offset is a place in the data block of a program being built.
type Offset uint64

// Arg is one argument of an op.
type Arg struct {
	value uint64
	reloc bool
}

// Int is an argument that is a number; a negative one is sign-extended as the
// kernel expects.
func Int[T ~int | ~int64 | ~uint64 | ~uint32](n T) Arg { return Arg{value: uint64(n)} }

// At is an argument that points into the data block.
func At(o Offset) Arg { return Arg{value: uint64(o), reloc: true} }

// Builder writes one program. Its zero value builds nothing; use NewBuilder.
type Builder struct {
	arch   uint32
	flags  uint32
	slots  uint32
	ops    []Op
	relocs []uint32
	data   []byte
}

// NewBuilder returns an empty program for a machine.
func NewBuilder(arch uint32) *Builder {
	return &Builder{arch: arch, ops: make([]Op, 0, 48), relocs: make([]uint32, 0, 64), data: make([]byte, 0, 2048)}
}

// SetFlags adds program flags.
func (b *Builder) SetFlags(flags uint32) { b.flags |= flags }

// SetSlots says how many descriptors must be handed to the program.
func (b *Builder) SetSlots(n int) { b.slots = uint32(n) }

// Len is the number of ops so far, which is the index of the next one.
func (b *Builder) Len() int { return len(b.ops) }

// Call adds an op and returns its index. A call that the machine does not have
// becomes one that Validate refuses.
func (b *Builder) Call(c Call, args ...Arg) int {
	nr, ok := c.Number(b.arch)
	if !ok {
		nr = ^uint32(0)
	}
	return b.add(nr, args...)
}

// Pseudo adds one of the pseudo-ops and returns its index.
func (b *Builder) Pseudo(nr uint32, args ...Arg) int { return b.add(nr, args...) }

func (b *Builder) add(nr uint32, args ...Arg) int {
	op := Op{Nr: nr}
	for i, a := range args {
		op.Args[i] = a.value
		if a.reloc {
			op.Reloc |= 1 << i
		}
	}
	b.ops = append(b.ops, op)
	return len(b.ops) - 1
}

// Ignore lets the program go on when op fails.
func (b *Builder) Ignore(op int) { b.ops[op].Flags |= IgnoreError }

// Keep puts the result of op from into argument arg of op to.
func (b *Builder) Keep(from, to, arg int) {
	b.ops[from].Flags |= Store
	b.ops[from].DstOp, b.ops[from].DstArg = uint16(to), uint16(arg)
}

// Text puts s and a NUL into the data block. A NUL inside s would cut it short:
// the caller has refused it.
func (b *Builder) Text(s string) Offset {
	o := Offset(len(b.data))
	b.data = append(b.data, s...)
	b.data = append(b.data, 0)
	return o
}

// Block puts p into the data block, aligned to 8 bytes.
func (b *Builder) Block(p []byte) Offset {
	b.align()
	o := Offset(len(b.data))
	b.data = append(b.data, p...)
	return o
}

// Texts puts an argv or envp into the data block: the texts and the array.
func (b *Builder) Texts(list []string) Offset {
	_, array := b.Places(list)
	return array
}

// Places is Texts that also says where each text is, so that an op may write into it.
func (b *Builder) Places(list []string) (places []Offset, array Offset) {
	places = make([]Offset, len(list))
	for i, s := range list {
		places[i] = b.Text(s)
	}
	b.align()
	o := Offset(len(b.data))
	for _, p := range places {
		b.relocs = append(b.relocs, uint32(len(b.data)))
		b.data = appendUint64(b.data, uint64(p))
	}
	b.data = appendUint64(b.data, 0)
	return places, o
}

func (b *Builder) align() {
	for len(b.data)%8 != 0 {
		b.data = append(b.data, 0)
	}
}

// Bytes returns the program. The error is that of Validate: a program too large
// is the one a caller should expect.
func (b *Builder) Bytes() ([]byte, error) {
	b.align()
	if len(b.ops) > MaxOps || len(b.data) > MaxData || len(b.relocs) > MaxRelocs {
		return nil, wrong("it is too large: " + decimal(uint64(len(b.ops))) + " ops, " + decimal(uint64(len(b.data))) + " bytes of data")
	}
	out := make([]byte, 0, HeaderSize+len(b.ops)*OpSize+relocSpace(len(b.relocs))+len(b.data))
	for _, w := range []uint32{Magic, Version, b.arch, b.flags, uint32(len(b.ops)), uint32(len(b.data)), uint32(len(b.relocs)), b.slots} {
		out = appendUint32(out, w)
	}
	out = append(out, make([]byte, HeaderSize-len(out))...)
	for i := range b.ops {
		out = appendOp(out, &b.ops[i])
	}
	for _, r := range b.relocs {
		out = appendUint32(out, r)
	}
	if len(b.relocs)%2 != 0 {
		out = appendUint32(out, 0)
	}
	out = append(out, b.data...)
	return out, Validate(out)
}

func appendOp(out []byte, op *Op) []byte {
	out = appendUint32(out, op.Nr)
	out = append(out, byte(op.Flags), byte(op.Flags>>8), op.Reloc, 0)
	out = append(out, byte(op.DstOp), byte(op.DstOp>>8), byte(op.DstArg), byte(op.DstArg>>8))
	out = appendUint32(out, 0)
	for _, a := range op.Args {
		out = appendUint64(out, a)
	}
	return out
}

func appendUint32(b []byte, n uint32) []byte {
	return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

func appendUint64(b []byte, n uint64) []byte {
	return appendUint32(appendUint32(b, uint32(n)), uint32(n>>32))
}
