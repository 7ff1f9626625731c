package prog

// Call is a system call that a program may make, the same on every machine.
type Call uint8

// The calls a program may make. Each acts on the calling process only.
const (
	Write Call = iota
	Close
	Ioctl
	Fcntl
	Sigprocmask
	Umask
	Chdir
	Fchdir
	Chroot
	Setsid
	Setpgid
	Setgroups
	Setresuid
	Setresgid
	Capset
	Prctl
	Setpriority
	IoprioSet
	SchedSetscheduler
	SchedSetaffinity
	Prlimit
	Openat
	Dup3
	CloseRange
	Mknodat
	Unlinkat
	Execve
	nCalls
)

// Machines a program can be for, as AUDIT_ARCH_* words.
const (
	ArchAMD64 = 0xc000003e
	ArchARM64 = 0xc00000b7
)

// The few values that the rules below pin down.
const (
	TIOCSCTTY      = 0x540e
	FSetFD         = 2
	OCloexec       = 0x80000
	PrctlKeepCaps  = 8
	PrctlBoundDrop = 24
	PrctlSecure    = 28
	PrctlNoNewPriv = 38
	PrctlAmbient   = 47
	IoprioProcess  = 1
	PrivateFIFO    = 0o010600 // the only node a program may make
)

// kind is what an argument may be.
type kind uint8

const (
	isNone    kind = iota // not an argument: 0
	isNumber              // any number
	isExactly             // n
	isAtLeast             // n or more
	isOwnFD               // any descriptor: the child's table is its own by then
	isFD                  // a descriptor of the child: 0, 1, 2, a slot, or one stored by an op before
	isFlags               // any number with O_CLOEXEC in it
	isOption              // one of the prctl options of allowedPrctl
	isString              // an offset to a text that ends in NUL
	isVector              // an offset to a NULL-terminated array of texts
	isBuffer              // an offset to n bytes
	isCounted             // an offset to n bytes times the value of argument by
)

type param struct {
	kind kind
	n    uint64
	by   uint8
}

func exactly(n uint64) param              { return param{kind: isExactly, n: n} }
func buffer(n uint64) param               { return param{kind: isBuffer, n: n} }
func counted(size uint64, by uint8) param { return param{kind: isCounted, n: size, by: by} }

var (
	number = param{kind: isNumber}
	fd     = param{kind: isFD}
	ownFD  = param{kind: isOwnFD}
	text   = param{kind: isString}
	vector = param{kind: isVector}
)

// rule is a call's number on each machine and what its arguments may be.
type rule struct {
	amd64, arm64 uint32
	params       [6]param
}

// rules is the whole of what a program may ask of the kernel. A call that could
// reach the memory, the signals or the descriptors of the parent has no place
// here: the child runs in the parent's memory.
var rules = [nCalls]rule{
	Write:             {1, 64, [6]param{fd, counted(1, 2), number}},
	Close:             {3, 57, [6]param{ownFD}},
	Ioctl:             {16, 29, [6]param{fd, exactly(TIOCSCTTY), number}},
	Fcntl:             {72, 25, [6]param{fd, exactly(FSetFD), number}},
	Sigprocmask:       {14, 135, [6]param{number, buffer(8), exactly(0), exactly(8)}},
	Umask:             {95, 166, [6]param{number}},
	Chdir:             {80, 49, [6]param{text}},
	Fchdir:            {81, 50, [6]param{fd}},
	Chroot:            {161, 51, [6]param{text}},
	Setsid:            {112, 157, [6]param{}},
	Setpgid:           {109, 154, [6]param{exactly(0), exactly(0)}},
	Setgroups:         {116, 159, [6]param{number, counted(4, 0)}},
	Setresuid:         {117, 147, [6]param{number, number, number}},
	Setresgid:         {119, 149, [6]param{number, number, number}},
	Capset:            {126, 91, [6]param{buffer(8), buffer(24)}},
	Prctl:             {157, 167, [6]param{{kind: isOption}, number, number, number, number}},
	Setpriority:       {141, 140, [6]param{exactly(0), exactly(0), number}},
	IoprioSet:         {251, 30, [6]param{exactly(IoprioProcess), exactly(0), number}},
	SchedSetscheduler: {144, 119, [6]param{exactly(0), number, buffer(4)}},
	SchedSetaffinity:  {203, 122, [6]param{exactly(0), number, counted(1, 1)}},
	Prlimit:           {302, 261, [6]param{exactly(0), number, buffer(16), exactly(0)}},
	Openat:            {257, 56, [6]param{exactly(AtFDCWD), text, {kind: isFlags}, number}},
	Dup3:              {292, 24, [6]param{fd, ownFD, number}},
	CloseRange:        {436, 436, [6]param{{kind: isAtLeast, n: FirstSlot}, number, number}},
	Mknodat:           {259, 33, [6]param{exactly(AtFDCWD), text, exactly(PrivateFIFO), exactly(0)}},
	Unlinkat:          {263, 35, [6]param{exactly(AtFDCWD), text, exactly(0)}},
	Execve:            {59, 221, [6]param{text, vector, vector}},
}

// allowedPrctl leaves out PR_SET_DUMPABLE, PR_SET_MM and their like, which act
// on the memory a child shares, and PR_SET_PDEATHSIG, which follows a thread.
func allowedPrctl(option uint64) bool {
	switch option {
	case PrctlKeepCaps, PrctlBoundDrop, PrctlSecure, PrctlNoNewPriv, PrctlAmbient:
		return true
	}
	return false
}

// Number returns the number of a call on a machine, and whether the machine is
// one we know.
func (c Call) Number(arch uint32) (nr uint32, ok bool) {
	switch arch {
	case ArchAMD64:
		return rules[c].amd64, true
	case ArchARM64:
		return rules[c].arm64, true
	}
	return 0, false
}

func callOf(arch, nr uint32) (Call, bool) {
	for c := range rules {
		if n, ok := Call(c).Number(arch); ok && n == nr {
			return Call(c), true
		}
	}
	return 0, false
}
