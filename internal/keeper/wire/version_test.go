package wire

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
)

// golden returns the messages of an earlier version as they were sent.
func golden(t *testing.T, file string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		if all[name], err = hex.DecodeString(digits); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestVersion1IsReadAndWrittenForEver holds on to the very bytes of version 1: an
// end that agreed on it with its peer must send and take nothing else.
func TestVersion1IsReadAndWrittenForEver(t *testing.T) {
	name := []byte("web/reload@2")
	spawn := Spawn{Name: name, Run: 1 << 40, AckRun: 9, Flags: SpawnSlow | SpawnCgroup, NTags: 2, Pass: 3}
	spawn.Tags[0], spawn.Tags[1] = 7, 1<<31
	exited := Exited{Name: name, Run: 3, Pid: 4, Status: 5, Flags: ExecFailed, Op: 6, Errno: 7, User: 8, System: 9, MaxRSS: 10, Boot: 11, Real: 1 << 60}
	welcome := Welcome{Version: 1, KeeperPid: 7, Rung: 1, Flags: PID1 | PidfdNamed, NofileSoft: 1024, NofileHard: 1 << 33, Slots: 32768, Used: 2, Engines: 3, EnginePid: 8}
	copy(welcome.Boot[:], "01234567-89ab-cdef-0123-456789abcdef")
	copy(welcome.ID[:], "0123456789abcdef")
	stats := Stats{}
	for i, p := range stats.fields() {
		*p = uint64(i + 1)
	}
	all := golden(t, "v1.txt")
	type decoder interface{ Decode([]byte) Code }
	for key, c := range map[string]struct {
		kind  Type
		seq   uint32
		want  decoder
		again []byte
	}{
		"HELLO":    {1, 1, &Hello{1}, (&Hello{1}).Append(nil, 1)},
		"LIST":     {2, 2, &List{70000}, (&List{70000}).Append(nil, 2)},
		"SPAWN":    {3, 3, &spawn, spawn.Append(nil, 3)},
		"ACK":      {4, 4, &ServiceRun{name, 4}, (&ServiceRun{name, 4}).Append(nil, TypeAck, 4)},
		"SIGNAL":   {5, 5, &Signal{name, 4, 64, ToSession}, (&Signal{name, 4, 64, ToSession}).Append(nil, 5)},
		"KEEP":     {6, 6, &Held{name, 4, 3}, (&Held{name, 4, 3}).Append(nil, TypeKeep, 6)},
		"TAKE":     {7, 7, &Held{name, 4, 3}, (&Held{name, 4, 3}).Append(nil, TypeTake, 7)},
		"DROP":     {8, 8, &Held{name, 4, AllTags}, (&Held{name, 4, AllTags}).Append(nil, TypeDrop, 8)},
		"FORGET":   {9, 9, &ServiceRun{name, 0}, (&ServiceRun{name, 0}).Append(nil, TypeForget, 9)},
		"PING":     {10, 10, nil, Bare(nil, TypePing, 10)},
		"PONG":     {11, 0, nil, Bare(nil, TypePong, 0)},
		"EXIT":     {12, 12, &Exit{255, ActionHalt}, (&Exit{255, ActionHalt}).Append(nil, 12)},
		"HANDLED":  {13, 13, &Signaled{15, 2}, (&Signaled{15, 2}).Append(nil, TypeHandled, 13)},
		"COUNT":    {14, 14, nil, Bare(nil, TypeCount, 14)},
		"WELCOME":  {0x8001, 1, &welcome, welcome.Append(nil, 1)},
		"SPAWNED":  {0x8003, 3, &Spawned{name, 1, 2, 3, 4}, (&Spawned{name, 1, 2, 3, 4}).Append(nil, 3)},
		"REFUSED":  {0x8004, 3, &Refused{name, 1, CodeSystem, -3, 2, 1}, (&Refused{name, 1, CodeSystem, -3, 2, 1}).Append(nil, 3)},
		"EXITED":   {0x8005, 0, &exited, exited.Append(nil)},
		"SIGNALED": {0x8006, 0, &Signaled{15, 3}, (&Signaled{15, 3}).Append(nil, TypeSignaled, 0)},
		"OK":       {0x8007, 4, nil, Bare(nil, TypeOK, 4)},
		"ERROR":    {0x8008, 9, &Failure{CodeEnding, 3}, (&Failure{CodeEnding, 3}).Append(nil, 9)},
		"ISALIVE":  {0x8009, 0, nil, Bare(nil, TypeIsAlive, 0)},
		"PONGED":   {0x800a, 10, nil, Bare(nil, TypePonged, 10)},
		"FD":       {0x800b, 7, &Held{name, 4, 3}, (&Held{name, 4, 3}).Append(nil, TypeFD, 7)},
		"STATS":    {0x800c, 14, &stats, stats.Append(nil, 14)},
	} {
		msg := all[key]
		h, b, code := Parse(msg)
		if code != CodeNone || h.Type != c.kind || h.Seq != c.seq || h.Format != 1 {
			t.Errorf("%s: %v %+v", key, code, h)
			continue
		}
		if c.want == nil {
			if len(b) != 0 {
				t.Errorf("%s has a body", key)
			}
		} else {
			got := reflect.New(reflect.TypeOf(c.want).Elem()).Interface().(decoder)
			if code := got.Decode(b); code != CodeNone || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s is read as %+v (%v), want %+v", key, got, code, c.want)
			}
		}
		if !bytes.Equal(c.again, msg) {
			t.Errorf("%s is sent as\n%x, version 1 was\n%x", key, c.again, msg)
		}
		if h.Type < TypeWelcome && h.Type.Since() != 1 {
			t.Errorf("%s is not a request of version 1", key)
		}
		delete(all, key)
	}
	version1Inventory(t, all["INVENTORY"], &exited)
	delete(all, "INVENTORY")
	for key := range all {
		t.Errorf("no test reads %s", key)
	}
}

func version1Inventory(t *testing.T, msg []byte, exit *Exited) {
	t.Helper()
	var part Inventory
	if code := part.Decode(body(t, msg, TypeInventory)); code != CodeNone || part.Next != 77 || part.Count != 2 {
		t.Fatalf("INVENTORY: %v, next %d, %d records", code, part.Next, part.Count)
	}
	var first, second Record
	if code := part.Record(&first); code != CodeNone {
		t.Fatal(code)
	}
	if code := part.Record(&second); code != CodeNone {
		t.Fatal(code)
	}
	want := Record{Name: exit.Name, Run: 5, Phase: Ended, Pid: 6, Start: 7, Began: 8, NHeld: 2, Exit: *exit}
	want.Exit.Run, want.Exit.Pid = 5, 6
	want.Held[0], want.Held[1] = HeldTag{5, 1}, HeldTag{0, 9}
	if !reflect.DeepEqual(first, want) {
		t.Errorf("first record %+v, want %+v", first, want)
	}
	if string(second.Name) != "db" || second.Phase != Live || second.Pid != 10 || second.Start != 11 || second.Began != 12 {
		t.Errorf("second record %+v", second)
	}
	again := FinishInventory(AppendRecord(AppendRecord(BeginInventory(nil, 2), &first), &second), 77, 2)
	if !bytes.Equal(again, msg) {
		t.Errorf("INVENTORY is sent as\n%x, version 1 was\n%x", again, msg)
	}
}

func TestWelcomeNamesTheBuildFromVersion2On(t *testing.T) {
	for version, size := range map[uint32]int{1: 0, 2: BuildSize} {
		m := Welcome{Version: version}
		bare := len(m.Append(nil, 1))
		copy(m.Build[:], "1.2-3")
		b := body(t, m.Append(nil, 1), TypeWelcome)
		var got Welcome
		if code := got.Decode(b); code != CodeNone || (got.Build == m.Build) != (size > 0) || bare-HeaderSize != 100+size {
			t.Errorf("version %d: %v, %d bytes", version, code, bare)
		}
	}
}

func TestUpgradeNamesFilesOrConfirms(t *testing.T) {
	files := Upgrade{Keeper: []byte("/a/abide-keeper"), Engine: []byte("/a/abide-engine"), Exec: []byte("/a/abide-exec")}
	for what, c := range map[string]struct {
		m    Upgrade
		code Code
	}{
		"files":                {files, CodeNone},
		"no abide-exec":        {Upgrade{Keeper: files.Keeper, Engine: files.Engine}, CodeNone},
		"the engine's word":    {Upgrade{Flags: UpgradeInCharge}, CodeNone},
		"both":                 {Upgrade{Flags: UpgradeInCharge, Keeper: files.Keeper}, CodeBody},
		"nothing":              {Upgrade{}, CodeBody},
		"a relative path":      {Upgrade{Keeper: []byte("abide-keeper"), Engine: files.Engine}, CodeBody},
		"a NUL":                {Upgrade{Keeper: []byte("/a\x00b"), Engine: files.Engine}, CodeBody},
		"a flag of the future": {Upgrade{Flags: 2, Keeper: files.Keeper, Engine: files.Engine}, CodeBody},
	} {
		b := body(t, c.m.Append(nil, 3), TypeUpgrade)
		var got Upgrade
		if code := got.Decode(b); code != c.code {
			t.Errorf("%s: %v, want %v", what, code, c.code)
		} else if code == CodeNone && !bytes.Equal(got.Append(nil, 3), c.m.Append(nil, 3)) {
			t.Errorf("%s: %+v, want %+v", what, got, c.m)
		}
	}
	if TypeUpgrade != 18 || TypeUpgraded != 0x8015 || TypeUpgrade.Since() != 2 {
		t.Errorf("UPGRADE is %d, its answer %#x", TypeUpgrade, uint16(TypeUpgraded))
	}
	var back Upgraded
	sent := Upgraded{UpgradeEngineDied, 9, 2}
	if code := back.Decode(body(t, sent.Append(nil, 3), TypeUpgraded)); code != CodeNone || back != sent {
		t.Errorf("%+v, %v", back, code)
	}
	if code := back.Decode((&Upgraded{Result: 99}).Append(nil, 3)[HeaderSize:]); code == CodeNone {
		t.Error("a result of the future is accepted")
	}
}
