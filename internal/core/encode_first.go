package core

import "encoding/binary"

// FirstSize is the length of a State as abide 0.1 kept it: the struct in memory,
// as 64-bit processors lay it out.
const FirstSize = 208

// DecodeFirst reads a State that abide 0.1 kept. There is no checksum in it: what
// holds it has one.
func DecodeFirst(src *[FirstSize]byte) (State, error) {
	le := binary.LittleEndian
	b := src[:]
	flag := func(at int) bool { return b[at] != 0 }
	s := State{
		Phase: Phase(b[0]), Cause: Cause(b[1]), End: End(b[2]),
		Wanted: flag(3), Once: flag(4), Paused: flag(5), PendingRestart: flag(6), Killed: flag(7),
		Hurry: flag(8), Froze: flag(9), WasReady: flag(10), Level: b[11], StopStep: b[12],
		Run: le.Uint64(b[16:]), Restarts: le.Uint64(b[24:]),
		Deadline: Time(le.Uint64(b[32:])), StopBy: Time(le.Uint64(b[40:])),
		Began: Time(le.Uint64(b[48:])), Ended: Time(le.Uint64(b[56:])),
		window: window{next: b[192], per: le.Uint32(b[196:]), fill: le.Uint32(b[200:])},
	}
	for i := range s.window.stamp {
		s.window.stamp[i] = Time(le.Uint64(b[64+8*i:]))
	}
	if err := s.inRange(); err != nil {
		return State{}, err
	}
	return s, nil
}

// inRange refuses what no Step has ever made.
func (s *State) inRange() error {
	if s.Phase >= phases || s.Cause >= causes || s.End >= ends || s.StopStep >= MaxStopSteps || s.Hook >= HookKinds ||
		s.window.next >= windowSize || s.window.fill > s.window.per {
		return errRange
	}
	return nil
}
