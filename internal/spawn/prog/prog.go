// Package prog is the spawn program: a list of plain system calls that a child
// runs between clone and exec, as one block of bytes. The engine's compiler
// writes it with a Builder; the keeper and abide-exec check it with Validate,
// turn its offsets into addresses with Load and run it. A child shares its
// parent's memory until exec, so Validate admits only calls that act on the
// child itself and only pointers into the block. The package links neither fmt
// nor reflect, because the keeper links it, and it runs nothing itself.
//
// Layout, little endian: a Header of 64 bytes, NOps ops of 64 bytes, NRelocs
// offsets of 4 bytes (padded to 8), then the data block. An argument whose Reloc
// bit is set is an offset into the data block and becomes an address when the
// program is loaded. So does each 8-byte word of the data block that the
// relocations name: that is how argv and envp are written.
package prog

// Magic and Version open every program; a keeper refuses others by name.
const (
	Magic   = 0x50534241 // "ABSP"
	Version = 1

	HeaderSize = 64
	OpSize     = 64
	MaxOps     = 512
	MaxData    = 8 << 20
	MaxRelocs  = 1 << 18
	// MaxSlots bounds the descriptors that are handed to a program.
	MaxSlots = 16
	// FirstSlot is the descriptor the first of them has in the child.
	FirstSlot = 3
)

// Header is the first 64 bytes of a program.
type Header struct {
	Magic   uint32
	Version uint32
	Arch    uint32 // the AUDIT_ARCH_* word: system call numbers differ by machine
	Flags   uint32
	NOps    uint32
	DataLen uint32 // bytes
	NRelocs uint32
	Slots   uint32 // descriptors handed over, found at FirstSlot and up
	_       [32]byte
}

// Program flags.
const (
	// Slow asks for the abide-exec rung: an op may block for long, for example a
	// path on a mount that is not known local.
	Slow uint32 = 1 << iota
)

// Pseudo-ops, in Op.Nr.
const (
	OpPid    = 0xffff0001 // write our own pid in decimal and a NUL at address Args[0], which has PidRoom bytes
	OpRecord = 0xffff0002 // store our own pid at the address whoever spawns gives; nothing when it gives none
	OpDefSig = 0xffff0003 // set every signal's action to SIG_DFL
)

// PidRoom is what OpPid may write: ten digits, a NUL, and one byte to spare.
const PidRoom = 12

// Op flags. The result of an op with Store goes into argument DstArg of op
// DstOp. A failure that is ignored stores its negative errno, so that what would
// have used the descriptor fails as well.
const (
	IgnoreError uint16 = 1 << iota // a failure does not end the program
	Store
)

// Op is one system call: 64 bytes on the wire in this order.
type Op struct {
	Nr     uint32
	Flags  uint16
	Reloc  uint8 // bit i: Args[i] is an offset into the data block
	_      uint8
	DstOp  uint16
	DstArg uint16
	_      uint32
	Args   [6]uint64
}

// AtFDCWD is openat's "relative to the working directory" as an argument.
const AtFDCWD = ^uint64(99)

// Error is why a program is not one.
type Error struct {
	Op   int // the op at fault, -1 when it is the block itself
	Text string
}

func (e *Error) Error() string {
	if e.Op < 0 {
		return "cannot use the spawn program: " + e.Text
	}
	return "cannot use the spawn program: op " + decimal(uint64(e.Op)) + ": " + e.Text
}

func wrong(text string) *Error { return &Error{Op: -1, Text: text} }

func decimal(n uint64) string {
	var buf [20]byte
	i := len(buf)
	for {
		i--
		buf[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(buf[i:])
		}
	}
}
