package prog

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// sample is a program with one op of every kind of argument.
func sample() *Builder {
	b := NewBuilder(ArchAMD64)
	b.SetSlots(2)
	b.Pseudo(OpRecord)
	b.Pseudo(OpDefSig)
	b.Call(Sigprocmask, Int(2), At(b.Block(make([]byte, 8))), Int(0), Int(8))
	b.Call(Setsid)
	pid := b.Block(make([]byte, 16))
	b.Pseudo(OpPid, At(pid))
	open := b.Call(Openat, Int(AtFDCWD), At(b.Text("/proc/self/oom_score_adj")), Int(1|OCloexec), Int(0))
	b.Keep(open, b.Call(Write, Int(0), At(b.Text("100")), Int(3)), 0)
	b.Ignore(open)
	b.Call(Prlimit, Int(0), Int(7), At(b.Block(make([]byte, 16))), Int(0))
	b.Call(Setgroups, Int(3), At(b.Block(make([]byte, 12))))
	b.Call(Prctl, Int(PrctlNoNewPriv), Int(1))
	b.Call(SchedSetaffinity, Int(0), Int(8), At(b.Block(make([]byte, 8))))
	b.Call(Dup3, Int(3), Int(1), Int(0))
	b.Call(CloseRange, Int(3), Int(uint64(1<<32-1)), Int(0))
	b.Call(Chdir, At(b.Text("/")))
	b.Call(Execve, At(b.Text("/bin/echo")), At(b.Texts([]string{"echo", "hello", "world"})), At(b.Texts([]string{"A=1"})))
	return b
}

func build(t testing.TB, b *Builder) []byte {
	t.Helper()
	block, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// aligned copies a block to where Load accepts it.
func aligned(block []byte) []byte {
	words := make([]uint64, len(block)/8+1)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(block))
	copy(b, block)
	return b
}

func TestDecodeReturnsWhatWasBuilt(t *testing.T) {
	b := sample()
	d, err := Decode(build(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Ops, b.ops) || !slices.Equal(d.Relocs, b.relocs) || !bytes.Equal(d.Data, b.data) {
		t.Fatalf("got %+v", d)
	}
	if d.Header.Slots != 2 || d.Header.Arch != ArchAMD64 || len(d.Ops) != b.Len() {
		t.Fatalf("header %+v", d.Header)
	}
}

func TestBothMachinesHaveEveryCall(t *testing.T) {
	for _, arch := range []uint32{ArchAMD64, ArchARM64} {
		seen := map[uint32]Call{}
		for c := range nCalls {
			nr, ok := c.Number(arch)
			if other, twice := seen[nr]; !ok || twice || nr == 0 {
				t.Errorf("call %d has number %d on %#x, as has %d", c, nr, arch, other)
			}
			seen[nr] = c
		}
	}
}

func TestLoadTurnsOffsetsIntoAddresses(t *testing.T) {
	if NativeArch == 0 {
		t.Skip("programs cannot run on this machine")
	}
	b := NewBuilder(NativeArch)
	b.Call(Execve, At(b.Text("/bin/echo")), At(b.Texts([]string{"echo", "hi"})), At(b.Texts(nil)))
	block := aligned(build(t, b))
	var l Loaded
	if err := l.Load(block); err != nil {
		t.Fatal(err)
	}
	ops, n := l.Ops()
	if n != 1 {
		t.Fatalf("%d ops", n)
	}
	op := (*Op)(ops)
	base := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(block))))
	text := func(address uint64) string {
		s, _, _ := strings.Cut(string(block[address-base:]), "\x00")
		return s
	}
	argv := func(i int) uint64 { return binary.LittleEndian.Uint64(block[op.Args[1]-base+uint64(8*i):]) }
	if text(op.Args[0]) != "/bin/echo" || text(argv(0)) != "echo" || text(argv(1)) != "hi" || argv(2) != 0 {
		t.Fatalf("loaded wrongly: %+v", op)
	}
}

func TestLoadRefusesAnotherMachineAndBadPlaces(t *testing.T) {
	other := NewBuilder(uint32(ArchAMD64 ^ ArchARM64 ^ NativeArch))
	other.Call(Execve, At(other.Text("/x")), At(other.Texts(nil)), At(other.Texts(nil)))
	var l Loaded
	if err := l.Load(aligned(build(t, other))); err == nil {
		t.Error("a program for another machine was loaded")
	}
	block := build(t, sample())
	shifted := aligned(append([]byte{0}, block...))[1:]
	if err := l.Load(shifted); err == nil {
		t.Error("a block that is not aligned was loaded")
	}
	if err := l.Load(nil); err == nil {
		t.Error("nothing was loaded")
	}
}

// Each case changes the sample in one way that could harm a parent.
func TestValidateRefuses(t *testing.T) {
	last := func(b *Builder) *Op { return &b.ops[len(b.ops)-1] }
	cases := map[string]func(b *Builder){
		"a call outside the list (kill)":            func(b *Builder) { b.ops[3].Nr = 62 },
		"mmap":                                      func(b *Builder) { b.ops[3].Nr = 9 },
		"an unknown pseudo-op":                      func(b *Builder) { b.ops[3].Nr = 0xffff0009 },
		"another process's limits":                  func(b *Builder) { b.ops[7].Args[0] = 1 },
		"writing old limits":                        func(b *Builder) { b.ops[7].Args[3] = 64 },
		"a pointer that is a number":                func(b *Builder) { b.ops[7].Reloc = 0 },
		"a number that is a pointer":                func(b *Builder) { b.ops[7].Reloc |= 2 },
		"a buffer past the end":                     func(b *Builder) { b.ops[7].Args[2] = uint64(len(b.data)) - 8 },
		"a buffer far outside":                      func(b *Builder) { b.ops[7].Args[2] = ^uint64(0) - 4 },
		"a count past the end":                      func(b *Builder) { b.ops[8].Args[0] = 1 << 20 },
		"a count that overflows":                    func(b *Builder) { b.ops[8].Args[0] = 1 << 63 },
		"a text past the end":                       func(b *Builder) { b.ops[13].Args[0] = uint64(len(b.data)) },
		"the pid past the end":                      func(b *Builder) { b.ops[4].Args[0] = uint64(len(b.data)) - 4 },
		"the pid over an argv":                      func(b *Builder) { b.ops[4].Args[0] = last(b).Args[1] },
		"a buffer over an argv":                     func(b *Builder) { b.ops[7].Args[2] = last(b).Args[1] },
		"a text over an argv":                       func(b *Builder) { b.ops[13].Args[0] = last(b).Args[1] },
		"argv not on a word":                        func(b *Builder) { last(b).Args[1]++ },
		"argv among texts":                          func(b *Builder) { last(b).Args[1] = 8 * (last(b).Args[0] / 8) },
		"argv without an end":                       func(b *Builder) { b.data = b.data[:len(b.data)-8] },
		"argv that points outside":                  func(b *Builder) { binary.LittleEndian.PutUint64(b.data[b.relocs[0]:], 1<<40) },
		"relocations out of order":                  func(b *Builder) { slices.Reverse(b.relocs) },
		"relocations that overlap":                  func(b *Builder) { b.relocs[1] = b.relocs[0] + 4 },
		"the parent's descriptors":                  func(b *Builder) { b.ops[11].Args[0] = 5 },
		"a descriptor that stays open":              func(b *Builder) { b.ops[5].Args[2] = 1 },
		"opening relative to a descriptor":          func(b *Builder) { b.ops[5].Args[0] = 0 },
		"closing the standard descriptors":          func(b *Builder) { b.ops[12].Args[0] = 0 },
		"a result into a count":                     func(b *Builder) { b.ops[5].DstArg = 2 },
		"a result into a pointer":                   func(b *Builder) { b.ops[5].DstArg = 1 },
		"a result into an op before":                func(b *Builder) { b.ops[5].DstOp = 2 },
		"a result into itself":                      func(b *Builder) { b.ops[5].DstOp = 5 },
		"a result past the end":                     func(b *Builder) { b.ops[5].DstOp = 60000 },
		"a result into an argument that is none":    func(b *Builder) { b.ops[5].DstArg = 40000 },
		"a result of a call without a descriptor":   func(b *Builder) { b.ops[3].Flags, b.ops[3].DstOp = Store, 6 },
		"a destination without a result":            func(b *Builder) { b.ops[3].DstOp = 6 },
		"dumpable":                                  func(b *Builder) { b.ops[9].Args[0] = 4 },
		"moving the parent's memory map":            func(b *Builder) { b.ops[9].Args[0] = 35 },
		"unblocking while handlers are left":        func(b *Builder) { b.ops[1].Nr = b.ops[3].Nr },
		"unknown op flags":                          func(b *Builder) { b.ops[3].Flags = 8 },
		"ending without an execve":                  func(b *Builder) { b.ops = b.ops[:14] },
		"ending in an execve that may fail":         func(b *Builder) { last(b).Flags = IgnoreError },
		"no ops":                                    func(b *Builder) { b.ops = nil },
		"too many ops":                              func(b *Builder) { b.ops = append(make([]Op, MaxOps), b.ops...) },
		"too many slots":                            func(b *Builder) { b.slots = MaxSlots + 9 },
		"unknown program flags":                     func(b *Builder) { b.flags = 1 << 30 },
		"an unknown machine":                        func(b *Builder) { b.arch = 7 },
		"arguments behind those of a call":          func(b *Builder) { b.ops[13].Args[5] = 1 },
		"another file than a private pipe by mknod": func(b *Builder) { b.ops[13].Nr = 259 },
	}
	for name, change := range cases {
		b := sample()
		change(b)
		block, err := b.Bytes()
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if block != nil {
			if ok := Validate(block); ok == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	}
}

func TestValidateRefusesWrongLengths(t *testing.T) {
	block := build(t, sample())
	for n := range block {
		if Validate(block[:n]) == nil {
			t.Fatalf("%d of %d bytes were accepted", n, len(block))
		}
	}
	if Validate(append(slices.Clone(block), 0)) == nil {
		t.Fatal("a byte too much was accepted")
	}
}

// pointers is a second, dumb account of what the calls of programs do with
// memory: for each the arguments that are addresses and how much they cover.
// Minus one is a text, minus two an array of texts.
func pointers(op Op) (list map[int]int, known bool) {
	switch op.Nr {
	case 3, 16, 72, 95, 81, 112, 109, 117, 119, 157, 141, 251, 292, 436, OpRecord, OpDefSig:
		return nil, true
	case 1:
		return map[int]int{1: int(op.Args[2])}, true
	case 14:
		return map[int]int{1: 8}, op.Args[2] == 0
	case 80, 161:
		return map[int]int{0: -1}, true
	case 116:
		return map[int]int{1: 4 * int(op.Args[0])}, true
	case 126:
		return map[int]int{0: 8, 1: 24}, true
	case 144:
		return map[int]int{2: 4}, true
	case 203:
		return map[int]int{2: int(op.Args[1])}, true
	case 302:
		return map[int]int{2: 16}, op.Args[0] == 0 && op.Args[3] == 0
	case 257:
		return map[int]int{1: -1}, true
	case 259:
		return map[int]int{1: -1}, op.Args[2] == 0o010600
	case 263:
		return map[int]int{1: -1}, true
	case 59:
		return map[int]int{0: -1, 1: -2, 2: -2}, true
	case OpPid:
		return map[int]int{0: PidRoom}, true
	}
	return nil, false
}

// harmless fails when a program that was accepted could reach outside its block.
func harmless(t *testing.T, block []byte) {
	d, err := Decode(block)
	if err != nil {
		t.Fatalf("accepted and not decoded: %v", err)
	}
	if d.Header.Arch != ArchAMD64 {
		return
	}
	size := len(d.Data)
	for i, op := range d.Ops {
		list, known := pointers(op)
		if !known {
			t.Fatalf("op %d: call %d %v", i, op.Nr, op.Args)
		}
		for a, v := range op.Args {
			n, pointer := list[a]
			if pointer != (op.Reloc&(1<<a) != 0) {
				t.Fatalf("op %d (call %d): argument %d is or is not a pointer", i, op.Nr, a)
			}
			switch {
			case !pointer:
			case v >= uint64(size)+1 || n >= 0 && (n > size || int(v)+n > size):
				t.Fatalf("op %d (call %d): argument %d covers %d bytes at %d of %d", i, op.Nr, a, n, v, size)
			case n == -1 && bytes.IndexByte(d.Data[v:], 0) < 0:
				t.Fatalf("op %d: a text without an end", i)
			case n == -2:
				for at := int(v); ; at += 8 {
					if at+8 > size {
						t.Fatalf("op %d: an array without an end", i)
					}
					word := binary.LittleEndian.Uint64(d.Data[at:])
					if !slices.Contains(d.Relocs, uint32(at)) {
						if word != 0 {
							t.Fatalf("op %d: a bare address in an array", i)
						}
						break
					}
					if word >= uint64(size) || bytes.IndexByte(d.Data[word:], 0) < 0 {
						t.Fatalf("op %d: an array with a text outside", i)
					}
				}
			}
		}
		if op.Flags&Store != 0 && (int(op.DstOp) <= i || int(op.DstOp) >= len(d.Ops) || op.DstArg > 5) {
			t.Fatalf("op %d: stores to %d.%d", i, op.DstOp, op.DstArg)
		}
	}
}

func FuzzValidateIsTotalAndLetsNothingOut(f *testing.F) {
	block := build(f, sample())
	f.Add(block)
	f.Add(block[:HeaderSize])
	f.Add([]byte{})
	small := NewBuilder(ArchAMD64)
	small.Call(Execve, At(small.Text("/x")), At(small.Texts(nil)), At(small.Texts(nil)))
	f.Add(build(f, small))
	if wrapped, err := ExecProgram("/usr/libexec/abide/abide-exec", 3); err == nil {
		f.Add(wrapped)
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		if Validate(block) == nil {
			harmless(t, block)
			var l Loaded
			_ = l.Load(aligned(block))
		}
	})
}

// Fuzzing needs long to keep a length right; changing words of a valid program
// reaches the rules at once.
func TestChangedProgramsAreRefusedOrHarmless(t *testing.T) {
	block := build(t, sample())
	random := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 200_000 {
		changed := slices.Clone(block)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(changed))
			switch random.IntN(3) {
			case 0:
				changed[at] = byte(random.Uint32())
			case 1:
				changed[at] ^= 1 << random.IntN(8)
			default:
				at &^= 7
				binary.LittleEndian.PutUint64(changed[at:], uint64(random.IntN(2*len(block))))
			}
		}
		if Validate(changed) == nil {
			accepted++
			harmless(t, changed)
		}
	}
	if accepted == 0 {
		t.Fatal("no changed program was accepted: the test tests nothing")
	}
}

func TestValidateAndLoadAllocateNothing(t *testing.T) {
	if NativeArch != ArchAMD64 {
		t.Skip("the sample is for amd64")
	}
	original := build(t, sample())
	block := aligned(original)
	var l Loaded
	if n := testing.AllocsPerRun(50, func() {
		copy(block, original)
		if err := l.Load(block); err != nil {
			panic(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestReportSurvivesEncoding(t *testing.T) {
	want := Report{Op: 12, Errno: 2}
	b := want.Encode()
	if got, ok := DecodeReport(b[:]); !ok || got != want {
		t.Fatalf("got %+v, %v", got, ok)
	}
	for _, bad := range [][]byte{nil, make([]byte, ReportSize), b[:15]} {
		if _, ok := DecodeReport(bad); ok {
			t.Errorf("% x is no report", bad)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	original := build(b, sample())
	block := aligned(original)
	var l Loaded
	for b.Loop() {
		copy(block, original)
		if err := l.Load(block); err != nil {
			b.Fatal(err)
		}
	}
}
