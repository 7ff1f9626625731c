package core

import (
	"encoding/hex"
	"hash/crc32"
	"os"
	"reflect"
	"strings"
	"testing"
)

// fill gives every field of a struct a value of its own that is in range.
func fill(v reflect.Value, n *uint64) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		*n++
		v.SetUint(*n % 8)
	case reflect.Int64:
		*n++
		v.SetInt(int64(*n * 1e12))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				fill(f, n)
			}
		}
	default:
		panic("a State holds a " + v.Kind().String())
	}
}

func fullState() State {
	var s State
	var n uint64
	fill(reflect.ValueOf(&s).Elem(), &n)
	s.Hook = BeforeStop
	s.window = window{next: 3, per: 9, fill: 7}
	for i := range s.window.stamp {
		s.window.stamp[i] = Time(i+1) * 1e15
	}
	return s
}

func TestEveryFieldOfAStateIsStored(t *testing.T) {
	want := fullState()
	var b [EncodedSize]byte
	want.Encode(&b)
	got, err := Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("stored %+v, read %+v", want, got)
	}
}

func TestAStateOfTheSecondVersionIsRead(t *testing.T) {
	want := firstFields(fullState())
	var b [EncodedSize]byte
	want.Encode(&b)
	for i := 192; i < 220; i++ {
		if b[i] != 0 {
			t.Errorf("byte %d is %d: that version wrote 0 there", i, b[i])
		}
	}
	if got, err := Decode(&b); err != nil || got != want {
		t.Errorf("read %+v, want %+v: %v", got, want, err)
	}
}

func TestATornStateIsNoticed(t *testing.T) {
	s := fullState()
	var now, before [EncodedSize]byte
	s.Encode(&now)
	s.Run++
	s.Phase, s.Deadline = Cleaning, 0
	s.Encode(&before)
	for cut := 1; cut < EncodedSize; cut++ {
		torn := before
		copy(torn[:cut], now[:cut])
		if torn == now || torn == before {
			continue
		}
		if got, err := Decode(&torn); err == nil {
			t.Errorf("cut after %d bytes it reads as %+v", cut, got)
		}
	}
	var empty [EncodedSize]byte
	if _, err := Decode(&empty); err == nil {
		t.Error("nothing but zeroes reads as a State")
	}
}

// firstFields is what abide 0.1 knew of a State.
func firstFields(s State) State {
	return State{
		Phase: s.Phase, Cause: s.Cause, End: s.End,
		Wanted: s.Wanted, Once: s.Once, Paused: s.Paused, PendingRestart: s.PendingRestart, Killed: s.Killed,
		Hurry: s.Hurry, Froze: s.Froze, WasReady: s.WasReady, Level: s.Level, StopStep: s.StopStep,
		Run: s.Run, Restarts: s.Restarts, Deadline: s.Deadline, StopBy: s.StopBy, Began: s.Began, Ended: s.Ended,
		window: s.window,
	}
}

// firstState is firstFields of fullState as abide 0.1 kept it.
func firstState(t testing.TB) [FirstSize]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/state-0.1.hex")
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil || len(b) != FirstSize {
		t.Fatalf("%d bytes, want %d: %v", len(b), FirstSize, err)
	}
	return [FirstSize]byte(b)
}

func TestAStateOfTheFirstVersionIsRead(t *testing.T) {
	b := firstState(t)
	if got, err := DecodeFirst(&b); err != nil || got != firstFields(fullState()) {
		t.Errorf("read %+v, want %+v: %v", got, firstFields(fullState()), err)
	}
	b[0] = byte(phases)
	if got, err := DecodeFirst(&b); err == nil {
		t.Errorf("phase %d reads as %+v", phases, got)
	}
}

func FuzzDecodeFirst(f *testing.F) {
	first := firstState(f)
	f.Add(first[:])
	f.Add(make([]byte, FirstSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		var b [FirstSize]byte
		copy(b[:], data)
		s, err := DecodeFirst(&b)
		if err != nil {
			return
		}
		var again [EncodedSize]byte
		s.Encode(&again)
		if back, err := Decode(&again); err != nil || back != s {
			t.Errorf("%+v comes back as %+v: %v", s, back, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	var b [EncodedSize]byte
	s := fullState()
	s.Encode(&b)
	f.Add(b[:])
	f.Add(make([]byte, EncodedSize))
	f.Add([]byte{encodedVersion, byte(phases)})
	f.Fuzz(func(t *testing.T, data []byte) {
		var b [EncodedSize]byte
		copy(b[:], data)
		sum := crc32.Checksum(b[:EncodedSize-4], crcTable)
		b[220], b[221], b[222], b[223] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		s, err := Decode(&b)
		if err != nil {
			return
		}
		var again [EncodedSize]byte
		s.Encode(&again)
		if back, err := Decode(&again); err != nil || back != s {
			t.Errorf("%+v comes back as %+v: %v", s, back, err)
		}
		// Whatever was stored, Step copes with it.
		cfg := zoo["limit"]
		for kind := range eventKinds {
			next, acts := Step(&cfg, s, Event{Kind: kind, Run: s.Run, End: Crash, Must: true}, base)
			_ = StateName(&cfg, next)
			_ = Reason(s, Event{Kind: kind}, next)
			_ = acts.All()
		}
	})
}
