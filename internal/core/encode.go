package core

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strconv"
	"time"
)

// EncodedSize is the length of an encoded State in bytes.
const EncodedSize = 224

// encodedVersion is raised when the meaning of the bytes changes.
const encodedVersion = 1

var crcTable = crc32.MakeTable(crc32.Castagnoli)

var (
	errTorn  = errors.New("cannot read state of service: checksum does not match")
	errRange = errors.New("cannot read state of service: a field is out of range")
)

// The flags of the encoded form.
const (
	flagWanted = 1 << iota
	flagOnce
	flagPaused
	flagPendingRestart
	flagKilled
	flagHurry
	flagFroze
	flagWasReady
)

// The flags that the first abide did not have.
const (
	flagHeld = 1 << iota
	flagDegraded
	flagHooking
	flagUnhooked
	flagVoid
	flagFinal
	flagHasMain
	flagSigned
)

// Encode writes s to dst, little endian, with a version and a checksum: a write
// that a dying process left half done is noticed, so a caller that keeps two
// places and writes them in turn always has a whole State. What abide 0.2 left zero
// (192 to 219) is what it did not know.
func (s *State) Encode(dst *[EncodedSize]byte) {
	le := binary.LittleEndian
	b := dst[:]
	b[0] = encodedVersion
	b[1] = byte(s.Phase)
	b[2] = byte(s.Cause)
	b[3] = byte(s.End)
	b[4] = bitIf(s.Wanted, flagWanted) | bitIf(s.Once, flagOnce) | bitIf(s.Paused, flagPaused) |
		bitIf(s.PendingRestart, flagPendingRestart) | bitIf(s.Killed, flagKilled) | bitIf(s.Hurry, flagHurry) |
		bitIf(s.Froze, flagFroze) | bitIf(s.WasReady, flagWasReady)
	b[5] = s.Level
	b[6] = s.StopStep
	b[7] = s.window.next
	le.PutUint64(b[8:], s.Run)
	le.PutUint64(b[16:], s.Restarts)
	le.PutUint64(b[24:], uint64(s.Deadline))
	le.PutUint64(b[32:], uint64(s.StopBy))
	le.PutUint64(b[40:], uint64(s.Began))
	le.PutUint64(b[48:], uint64(s.Ended))
	le.PutUint32(b[56:], s.window.per)
	le.PutUint32(b[60:], s.window.fill)
	for i, t := range s.window.stamp {
		le.PutUint64(b[64+8*i:], uint64(t))
	}
	b[192] = bitIf(s.Held, flagHeld) | bitIf(s.Degraded, flagDegraded) | bitIf(s.Hooking, flagHooking) |
		bitIf(s.Unhooked, flagUnhooked) | bitIf(s.Void, flagVoid) | bitIf(s.Final, flagFinal) |
		bitIf(s.HasMain, flagHasMain) | bitIf(s.Signed, flagSigned)
	b[193], b[194], b[195], b[196] = byte(s.Hook), s.Fails, s.InRow, s.Shorts
	le.PutUint16(b[197:], s.Skip)
	b[199] = 0
	le.PutUint32(b[200:], uint32(s.AliveIn/time.Millisecond))
	le.PutUint64(b[204:], uint64(s.Until))
	le.PutUint64(b[212:], uint64(s.AliveBy))
	le.PutUint32(b[220:], crc32.Checksum(b[:220], crcTable))
}

// Decode reads what Encode wrote. It fails for bytes that are torn, of another
// version, or no State.
func Decode(src *[EncodedSize]byte) (State, error) {
	le := binary.LittleEndian
	b := src[:]
	if le.Uint32(b[220:]) != crc32.Checksum(b[:220], crcTable) {
		return State{}, errTorn
	}
	if b[0] != encodedVersion {
		return State{}, errors.New("cannot read state of service: version " + strconv.Itoa(int(b[0])) + ", not " + strconv.Itoa(encodedVersion))
	}
	f, g := b[4], b[192]
	s := State{
		Phase: Phase(b[1]), Cause: Cause(b[2]), End: End(b[3]),
		Wanted: f&flagWanted != 0, Once: f&flagOnce != 0, Paused: f&flagPaused != 0,
		PendingRestart: f&flagPendingRestart != 0, Killed: f&flagKilled != 0, Hurry: f&flagHurry != 0,
		Froze: f&flagFroze != 0, WasReady: f&flagWasReady != 0,
		Held: g&flagHeld != 0, Degraded: g&flagDegraded != 0, Hooking: g&flagHooking != 0,
		Unhooked: g&flagUnhooked != 0, Void: g&flagVoid != 0, Final: g&flagFinal != 0,
		HasMain: g&flagHasMain != 0, Signed: g&flagSigned != 0,
		Hook: HookKind(b[193]), Fails: b[194], InRow: b[195], Shorts: b[196], Skip: le.Uint16(b[197:]),
		AliveIn: time.Duration(le.Uint32(b[200:])) * time.Millisecond,
		Until:   Time(le.Uint64(b[204:])), AliveBy: Time(le.Uint64(b[212:])),
		Level: b[5], StopStep: b[6],
		Run: le.Uint64(b[8:]), Restarts: le.Uint64(b[16:]),
		Deadline: Time(le.Uint64(b[24:])), StopBy: Time(le.Uint64(b[32:])),
		Began: Time(le.Uint64(b[40:])), Ended: Time(le.Uint64(b[48:])),
		window: window{next: b[7], per: le.Uint32(b[56:]), fill: le.Uint32(b[60:])},
	}
	for i := range s.window.stamp {
		s.window.stamp[i] = Time(le.Uint64(b[64+8*i:]))
	}
	if err := s.inRange(); err != nil {
		return State{}, err
	}
	return s, nil
}

func bitIf(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}
