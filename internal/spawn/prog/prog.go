// Package prog is the spawn program: a list of plain system calls that a child
// runs between clone and exec, as one block of bytes. The engine's compiler
// writes it, the keeper and abide-exec check, relocate and run it. It links
// nothing but unsafe-free standard library basics, because the keeper links it.
//
// Layout, little endian: a Header of 64 bytes, NOps ops of 64 bytes, then the
// data block. An argument whose Reloc bit is set is an offset into the data
// block and becomes an address when the program is loaded.
package prog

// Magic and Version open every program; a keeper refuses others by name.
const (
	Magic   = 0x50534241 // "ABSP"
	Version = 1

	HeaderSize = 64
	OpSize     = 64
	MaxOps     = 512
	MaxData    = 8 << 20
)

// Header is the first 64 bytes of a program.
type Header struct {
	Magic   uint32
	Version uint32
	Arch    uint32 // the AUDIT_ARCH_* word: system call numbers differ by machine
	Flags   uint32
	NOps    uint32
	DataLen uint32
	_       [40]byte
}

// Program flags.
const (
	// Slow asks for the abide-exec rung: an op may block for long, for example a
	// path on a mount that is not known local.
	Slow uint32 = 1 << iota
)

// Pseudo-ops, in Op.Nr.
const (
	OpPid    = 0xffff0001 // write our own pid in decimal and a NUL at address Args[0]
	OpRecord = 0xffff0002 // store {service, run, pid} in the record: the keeper fills its arguments
	OpDefSig = 0xffff0003 // set every signal's action to SIG_DFL
)

// Op flags. The result of an op with Store goes into argument DstArg of op DstOp.
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
