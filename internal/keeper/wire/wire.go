// Package wire is the language between the engine and the keeper: messages of at
// most 64 KiB over a seqpacket socket, little endian. HELLO and WELCOME agree on the
// highest version that both ends know. It encodes into a buffer of the caller, decodes without copying, allocates nothing and
// never panics, whatever it is given; what a message means is the keeper's and
// link's business. It links nothing, because the keeper links it.
//
// A message is a header of 16 bytes {format u16, type u16, length u32, seq u32,
// reserved u32} and a body. length counts the header. seq is chosen by the engine
// and repeated in the answer; the keeper's own messages have seq 0. Names are one
// byte of length and the bytes. docs/keeper.md lists the exchanges.
package wire

// Limits of the protocol.
const (
	Version    = 3 // of the exchanges; an engine and a keeper use the lower of theirs
	MinVersion = 1 // the oldest that is still spoken
	HeaderSize = 16
	MaxMessage = 64 << 10
	MaxName    = 160
	MaxHolds   = 16 // descriptors held by one SPAWN
	MaxHeld    = 32 // descriptors held for one service
	MaxPass    = 16 // descriptors handed to one program
	MaxPath    = 4095
)

// headerFormat opens every header. It stands for the layout of headers and does
// not change with Version, so that ends of different versions can greet each other.
const headerFormat = 1

// Type says what a message is.
type Type uint16

// The engine's messages. Each is answered by a message with its seq: WELCOME,
// INVENTORY, SPAWNED or REFUSED, FD, PONG, STATS as the name says, otherwise OK; or by
// ERROR. PONG itself is not answered.
const (
	TypeHello   Type = 1 + iota // Hello
	TypeList                    // List
	TypeSpawn                   // Spawn + descriptors: program, cgroup folder if flagged, holds, passed ones
	TypeAck                     // ServiceRun: the exit of this run is dealt with
	TypeSignal                  // Signal
	TypeKeep                    // Held + one descriptor
	TypeTake                    // Held
	TypeDrop                    // Held; Tag AllTags: every descriptor of the run
	TypeForget                  // ServiceRun with run 0: the slot is free again
	TypePing                    // no body
	TypePong                    // no body, answers the keeper's TypeIsAlive
	TypeExit                    // Exit
	TypeHandled                 // Signaled: signals up to this count are dealt with
	TypeCount                   // no body: ask for STATS
	TypeAdopt                   // Adopt + a pidfd of the process, or nothing; answered as SPAWN is
	TypeRelease                 // ServiceRun: the process goes on without us
	TypeRebuild                 // Rebuild: make RUN's files again; answered by FD

	TypeUpgrade    Type = 18 // Upgrade + the engine's own program file; answered by UPGRADED
	TypeSignalOnce Type = 19 // SignalOnce

	TypeMain Type = 21 // Main + a pidfd of the process, or nothing; answered as SPAWN is

	lastRequest = TypeMain
)

// Since is the version of the exchanges that brought a request.
func (t Type) Since() uint32 {
	switch {
	case t > TypeSignalOnce:
		return 3
	case t > TypeCount:
		return 2
	}
	return 1
}

// The keeper's messages.
const (
	TypeWelcome   Type = 0x8001 + iota // Welcome
	TypeInventory                      // Inventory
	TypeSpawned                        // Spawned
	TypeRefused                        // Refused
	TypeExited                         // Exited; an event, seq 0
	TypeSignaled                       // Signaled; an event, seq 0
	TypeOK                             // no body
	TypeError                          // Failure
	TypeIsAlive                        // no body: answer PONG, or be replaced
	TypePonged                         // no body, answers PING
	TypeFD                             // Held + one descriptor
	TypeStats                          // Stats

	TypeUpgraded Type = 0x8015 // Upgraded
)

// AllTags in DROP names every descriptor of a run.
const AllTags = 1<<32 - 1

// Header opens every message.
type Header struct {
	Format uint16
	Type   Type
	Length uint32
	Seq    uint32
}

// Code says why the keeper refused something.
type Code uint32

// The codes. CodeSystem comes with an errno.
const (
	CodeNone           Code = iota
	CodeVersion             // another protocol version
	CodeType                // no such request
	CodeLength              // the header's length is not the message's
	CodeBody                // the body is cut off, too long or out of bounds
	CodeName                // no name, or a byte in it that no name has
	CodeDescriptors         // not the descriptors that the message needs
	CodeOrder               // HELLO first
	CodeUnknown             // no service of this name
	CodeOlder               // the run number is not above the service's last
	CodeLives               // a run of this service lives
	CodeUnacknowledged      // the exit of the last run is not acknowledged
	CodeNotLive             // no such run lives
	CodeFull                // no free slot
	CodeProgram             // the spawn program is not acceptable
	CodeSystem              // a system call failed: errno
	CodeMachine             // only process 1 of the machine may do this
	CodeSignal              // no such signal, or a group that is not the service's
	CodeHeld                // too many descriptors held, or the tag is taken
	CodeNotHeld             // no such descriptor
	CodeEnding              // the keeper is on its way out
	CodeGone                // no process has this pid and start time
	CodeTaken               // the process is abide's own, or another service's
	lastCode
)

var codeTexts = [lastCode]string{
	"", "another protocol version", "no such request", "length differs from the header's",
	"malformed body", "malformed name", "wrong descriptors", "no hello yet",
	"no such service", "run number not above the last", "a run of it lives",
	"its last exit is not acknowledged", "no such run lives", "no free slot",
	"the spawn program is not acceptable", "system call failed",
	"only process 1 of the machine may do this", "no such signal or group",
	"too many descriptors held, or the tag is taken", "no such descriptor held", "the keeper is ending",
	"no process has this pid and start time", "the process is abide's own or another service's",
}

// String is the reason as the end of an error message.
func (c Code) String() string {
	if c < lastCode {
		return codeTexts[c]
	}
	return "unknown reason"
}

// Parse reads the header of a whole message and returns its body. A message with
// another header is refused before anything else is looked at; its header is
// returned as far as it could be read.
func Parse(msg []byte) (Header, []byte, Code) {
	if len(msg) < HeaderSize {
		return Header{}, nil, CodeLength
	}
	h := Header{
		Format: uint16(msg[0]) | uint16(msg[1])<<8,
		Type:   Type(uint16(msg[2]) | uint16(msg[3])<<8),
		Length: le32(msg[4:]),
		Seq:    le32(msg[8:]),
	}
	if h.Format != headerFormat {
		return h, nil, CodeVersion
	}
	if int64(h.Length) != int64(len(msg)) || len(msg) > MaxMessage {
		return h, nil, CodeLength
	}
	if le32(msg[12:]) != 0 {
		return h, nil, CodeBody
	}
	return h, msg[HeaderSize:], CodeNone
}

// Request says whether the type is one that an engine may send.
func (t Type) Request() bool { return t >= TypeHello && t <= lastRequest }

// Begin appends a header whose length End fills in.
func Begin(b []byte, t Type, seq uint32) []byte {
	b = put16(b, headerFormat)
	b = put16(b, uint16(t))
	b = put32(b, 0)
	b = put32(b, seq)
	return put32(b, 0)
}

// End stores the length of the message that begins at b[0].
func End(b []byte) []byte {
	n := uint32(len(b))
	b[4], b[5], b[6], b[7] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return b
}

// Bare appends a whole message without a body to an empty buffer.
func Bare(b []byte, t Type, seq uint32) []byte { return End(Begin(b, t, seq)) }

// GoodName says whether a name may stand in the records: 1 to 160 bytes, none of
// them a control character or DEL.
func GoodName(name []byte) bool {
	if len(name) == 0 || len(name) > MaxName {
		return false
	}
	for _, c := range name {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
