package wire

import (
	"reflect"
	"strings"
	"testing"
)

// body parses a message and demands that it is whole.
func body(t *testing.T, msg []byte, want Type) []byte {
	t.Helper()
	h, b, code := Parse(msg)
	if code != CodeNone || h.Type != want || int(h.Length) != len(msg) {
		t.Fatalf("header %+v: %v", h, code)
	}
	return b
}

func TestEveryMessageComesBackAsItWas(t *testing.T) {
	name := []byte("web/reload@2")
	spawn := Spawn{Name: name, Run: 1 << 40, AckRun: 9, Flags: SpawnSlow | SpawnCgroup, NTags: 2, Pass: 3}
	spawn.Tags[0], spawn.Tags[1] = 7, 1<<31
	exited := Exited{
		Name: name, Run: 3, Pid: 4, Status: 5, Flags: ExecFailed, Op: 6, Errno: 7,
		User: 8, System: 9, MaxRSS: 10, Boot: 11, Real: 1 << 60,
	}
	for _, c := range []struct {
		kind Type
		msg  []byte
		want any
		got  interface{ Decode([]byte) Code }
	}{
		{TypeHello, (&Hello{7}).Append(nil, 1), &Hello{7}, new(Hello)},
		{TypeList, (&List{70000}).Append(nil, 1), &List{70000}, new(List)},
		{TypeSpawn, spawn.Append(nil, 2), &spawn, new(Spawn)},
		{TypeAdopt, (&Adopt{name, 4, 99, 1 << 40, 0}).Append(nil, 3), &Adopt{name, 4, 99, 1 << 40, 0}, new(Adopt)},
		{TypeMain, (&Main{name, 4, 99, 1 << 40}).Append(nil, 3), &Main{name, 4, 99, 1 << 40}, new(Main)},
		{TypeAck, (&ServiceRun{name, 4}).Append(nil, TypeAck, 3), &ServiceRun{name, 4}, new(ServiceRun)},
		{TypeSignal, (&Signal{name, 4, 64, ToSession}).Append(nil, 3), &Signal{name, 4, 64, ToSession}, new(Signal)},
		{TypeDrop, (&Held{name, 4, AllTags}).Append(nil, TypeDrop, 3), &Held{name, 4, AllTags}, new(Held)},
		{TypeExit, (&Exit{255, ActionHalt}).Append(nil, 3), &Exit{255, ActionHalt}, new(Exit)},
		{TypeRebuild, (&Rebuild{RebuildLock}).Append(nil, 3), &Rebuild{RebuildLock}, new(Rebuild)},
		{TypeSignalOnce, (&SignalOnce{Signal{name, 4, 64, ToSession}, 9}).Append(nil, 3), &SignalOnce{Signal{name, 4, 64, ToSession}, 9}, new(SignalOnce)},
		{TypeHandled, (&Signaled{15, 2}).Append(nil, TypeHandled, 3), &Signaled{15, 2}, new(Signaled)},
		{TypeExited, exited.Append(nil), &exited, new(Exited)},
		{TypeSpawned, (&Spawned{name, 1, 2, 3, 4}).Append(nil, 9), &Spawned{name, 1, 2, 3, 4}, new(Spawned)},
		{TypeRefused, (&Refused{name, 1, CodeSystem, -3, 2, 1}).Append(nil, 9), &Refused{name, 1, CodeSystem, -3, 2, 1}, new(Refused)},
		{TypePidfd, (&LiveRun{name, 1, 2, 3}).Append(nil), &LiveRun{name, 1, 2, 3}, new(LiveRun)},
		{TypeHeld, (&Held{name, 4, 5}).Append(nil, TypeHeld, 0), &Held{name, 4, 5}, new(Held)},
		{TypeError, (&Failure{CodeLives, 3}).Append(nil, 9), &Failure{CodeLives, 3}, new(Failure)},
		{TypeStats, (&Stats{Spawns: 1, Dropped: 2}).Append(nil, 9), &Stats{Spawns: 1, Dropped: 2}, new(Stats)},
		{TypeWelcome, (&Welcome{Version: 1, ID: [16]byte{1}, Flags: PID1, NofileHard: 1 << 33, EnginePid: 8}).Append(nil, 9),
			&Welcome{Version: 1, ID: [16]byte{1}, Flags: PID1, NofileHard: 1 << 33, EnginePid: 8}, new(Welcome)},
	} {
		b := body(t, c.msg, c.kind)
		if code := c.got.Decode(b); code != CodeNone || !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("type %#x: %v %+v, want %+v", c.kind, code, c.got, c.want)
		}
		for n := range b {
			if code := c.got.Decode(b[:n]); code == CodeNone {
				t.Errorf("type %#x cut off after %d bytes is accepted", c.kind, n)
			}
		}
		if code := c.got.Decode(append(b[:len(b):len(b)], 0)); code == CodeNone {
			t.Errorf("type %#x with a byte too many is accepted", c.kind)
		}
	}
}

func TestAnInventoryFillsAMessageAndNoMore(t *testing.T) {
	record := Record{Name: []byte(strings.Repeat("n", MaxName)), Run: 5, Phase: Ended, Pid: 6, Start: 7, Began: 8, NHeld: MaxHeld}
	record.Exit = Exited{Status: 9}
	msg := BeginInventory(make([]byte, 0, MaxMessage), 4)
	count := uint32(0)
	for ; Room(msg); count++ {
		record.Held[3].Tag = count
		msg = AppendRecord(msg, &record)
	}
	msg = FinishInventory(msg, 77, count)
	if len(msg) > MaxMessage || count < 80 {
		t.Fatalf("%d records in %d bytes", count, len(msg))
	}
	var inv Inventory
	if code := inv.Decode(body(t, msg, TypeInventory)); code != CodeNone || inv.Next != 77 || inv.Count != count {
		t.Fatalf("%v %d %d", code, inv.Next, inv.Count)
	}
	for i := range count {
		var r Record
		if code := inv.Record(&r); code != CodeNone || r.Held[3].Tag != i || r.Exit.Status != 9 || r.Exit.Run != 5 || string(r.Name) != string(record.Name) {
			t.Fatalf("record %d: %v %+v", i, code, r)
		}
	}
}

func TestBadHeadersAreNamed(t *testing.T) {
	good := Bare(nil, TypePing, 3)
	for want, change := range map[Code]func([]byte) []byte{
		CodeNone:    func(b []byte) []byte { return b },
		CodeVersion: func(b []byte) []byte { b[0]++; return b },
		CodeLength:  func(b []byte) []byte { return append(b, 1) },
		CodeBody:    func(b []byte) []byte { b[15] = 1; return b },
	} {
		if _, _, code := Parse(change(append([]byte(nil), good...))); code != want {
			t.Errorf("%v, want %v", code, want)
		}
	}
	if _, _, code := Parse(good[:15]); code != CodeLength {
		t.Errorf("a short header: %v", code)
	}
}

func TestNamesAreBounded(t *testing.T) {
	for name, good := range map[string]bool{
		"web": true, "web/reload": true, "größe": true, strings.Repeat("x", 160): true,
		"": false, strings.Repeat("x", 161): false, "a\nb": false, "a\x00b": false, "\x7f": false,
	} {
		if GoodName([]byte(name)) != good {
			t.Errorf("GoodName(%q) = %v", name, !good)
		}
	}
}

func TestEveryCodeHasAText(t *testing.T) {
	for c := CodeVersion; c < lastCode; c++ {
		if c.String() == "" {
			t.Errorf("code %d has no text", c)
		}
	}
	if Code(1<<31).String() != "unknown reason" {
		t.Error("a code of the future is not said to be unknown")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	buf := make([]byte, 0, MaxMessage)
	spawn := Spawn{Name: []byte("web"), Run: 1, NTags: 2}
	if n := testing.AllocsPerRun(100, func() {
		_, b, _ := Parse(spawn.Append(buf[:0], 1))
		var m Spawn
		m.Decode(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDecode: nothing panics, and what is accepted encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	name := []byte("web")
	for _, msg := range [][]byte{
		Bare(nil, TypePing, 1), (&Hello{1}).Append(nil, 1), (&Spawn{Name: name, Run: 1, NTags: 1}).Append(nil, 1),
		(&Signal{name, 1, 9, ToGroup}).Append(nil, 1), (&SignalOnce{Signal{name, 1, 9, ToMain}, 1}).Append(nil, 1), (&Held{name, 1, 2}).Append(nil, TypeKeep, 1),
		(&Rebuild{RebuildLock}).Append(nil, 1), (&LiveRun{name, 1, 2, 3}).Append(nil), (&Held{name, 1, 2}).Append(nil, TypeHeld, 0),
		(&Exited{Name: name, Run: 1}).Append(nil), (&Refused{Name: name, Op: -1}).Append(nil, 1),
		FinishInventory(AppendRecord(BeginInventory(nil, 1), &Record{Name: name, NHeld: 1}), 0, 1),
		(&Signaled{1, 1}).Append(nil, TypeSignaled, 0), (&Stats{}).Append(nil, 1), (&Welcome{}).Append(nil, 1),
		(&Adopt{name, 1, 2, 3, 0}).Append(nil, 1), (&Upgrade{0, []byte("/k"), []byte("/e"), nil}).Append(nil, 1),
		(&Welcome{Version: 2}).Append(nil, 1), (&Upgraded{UpgradeDiffers, 1, 2}).Append(nil, 1),
		(&Main{name, 1, 2, 3}).Append(nil, 1),
	} {
		f.Add(msg)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, b, code := Parse(msg)
		if code != CodeNone {
			return
		}
		same := func(code Code, encode func() []byte) {
			if code == CodeNone {
				if got := encode(); string(got) != string(msg) {
					t.Errorf("%x encodes to %x", msg, got)
				}
			}
		}
		switch h.Type {
		case TypeHello:
			var m Hello
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeSpawn:
			var m Spawn
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeAdopt:
			var m Adopt
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeMain:
			var m Main
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeRebuild:
			var m Rebuild
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeUpgrade:
			var m Upgrade
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeUpgraded:
			var m Upgraded
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeAck, TypeForget, TypeRelease:
			var m ServiceRun
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Type, h.Seq) })
		case TypeSignalOnce:
			var m SignalOnce
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeSignal:
			var m Signal
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeKeep, TypeTake, TypeDrop, TypeFD, TypeHeld:
			var m Held
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Type, h.Seq) })
		case TypePidfd:
			var m LiveRun
			if h.Seq == 0 {
				same(m.Decode(b), func() []byte { return m.Append(nil) })
			}
		case TypeExited:
			var m Exited
			if h.Seq == 0 {
				same(m.Decode(b), func() []byte { return m.Append(nil) })
			}
		case TypeSpawned:
			var m Spawned
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeRefused:
			var m Refused
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeHandled, TypeSignaled:
			var m Signaled
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Type, h.Seq) })
		case TypeWelcome:
			var m Welcome
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeStats:
			var m Stats
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeExit:
			var m Exit
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeList:
			var m List
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeError:
			var m Failure
			same(m.Decode(b), func() []byte { return m.Append(nil, h.Seq) })
		case TypeInventory:
			var m Inventory
			if m.Decode(b) != CodeNone {
				return
			}
			var r Record
			for m.Count > 0 && m.Record(&r) == CodeNone {
			}
		}
	})
}
